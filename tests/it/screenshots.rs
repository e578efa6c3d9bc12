//! The pictures in `screenshots/`, drawn from fixtures: as SVG compared with the committed files, as PNG looked at.
//!
//! `HOTSEAT_UPDATE_SCREENSHOTS=1 cargo test screenshots` writes both. PNGs are not compared: another machine's
//! fonts differ by a pixel here and there.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use crate::support::picture;
use crate::support::screen::Desk;

/// What is the matter in a picture, at a size.
type Scene = fn(u16, u16) -> Desk;

/// Pictures of more than one screen or host: name, size and scene.
const TOGETHER: &[(&str, (u16, u16), Scene)] = &[
    ("together-120x40", (120, 40), Desk::company),
    ("agent-lost-120x40", (120, 40), |width, height| Desk::lost(width, height, true)),
    ("hosts-120x40", (120, 40), Desk::fleet),
];

/// Name, size, theme and keys of every picture.
const PICTURES: &[(&str, (u16, u16), &str, &str)] = &[
    ("outage-80x24", (80, 24), "ansi", ""),
    ("outage-120x40", (120, 40), "ansi", ""),
    ("outage-200x60", (200, 60), "ansi", ""),
    ("logs-filter-120x40", (120, 40), "ansi", LOGS),
    ("backups-detail", (100, 30), "ansi", "3 enter"),
    ("incident-editor", (100, 30), "ansi", EDITOR),
    ("help", (100, 34), "ansi", "?"),
    ("theme-dark", (80, 24), "dark", ""),
    ("theme-light", (80, 24), "light", ""),
    ("theme-high-contrast", (80, 24), "high-contrast", ""),
    ("theme-colorblind", (80, 24), "colorblind", ""),
    ("theme-mono", (80, 24), "mono", ""),
];

/// Two chips, the hits of a search, a trace unfolded.
const LOGS: &str = "2 z L i ! \"healthz\" enter / \"pool\" enter E E o";

/// A paragraph in the middle of the document.
const EDITOR: &str = "4 I ctrl-end enter \"14:52 switching reads to storage-b. 写入仍然失败, 等待 bob 确认\"";

fn pictures() -> impl Iterator<Item = (&'static str, String)> {
    let alone = PICTURES.iter().map(|(name, (width, height), theme, keys)| {
        let mut desk = Desk::outage(*width, *height);
        desk.wear(theme);
        desk.press(keys);
        (*name, desk)
    });
    let together = TOGETHER.iter().map(|(name, (width, height), scene)| (*name, scene(*width, *height)));
    alone.chain(together).map(|(name, desk)| {
        let (buf, cursor) = desk.draw(false);
        (name, picture::svg(&buf, cursor))
    })
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("screenshots")
}

fn update() -> bool {
    std::env::var_os("HOTSEAT_UPDATE_SCREENSHOTS").is_some()
}

#[test]
fn the_committed_pictures_show_the_screen_as_it_is() {
    for (name, svg) in pictures() {
        let path = folder().join(format!("{name}.svg"));
        if update() {
            std::fs::write(&path, svg).expect("the folder is writable");
            continue;
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let changed = committed.lines().zip(svg.lines()).find(|(old, new)| old != new);
        assert!(
            committed == svg,
            "`{}` is stale, first at {changed:?}: set HOTSEAT_UPDATE_SCREENSHOTS=1, run again and look at it",
            path.display()
        );
    }
}

#[test]
fn every_committed_picture_has_a_fixture() {
    // The other tests write the files meanwhile.
    if update() {
        return;
    }
    let listed = std::fs::read_dir(folder()).expect("the folder is there");
    let names = listed.map(|it| it.expect("readable").file_name().into_string().expect("a name in ASCII"));
    let expected = pictures().flat_map(|(name, _)| [format!("{name}.png"), format!("{name}.svg")]);
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
}

#[test]
fn the_pictures_can_be_painted() {
    let fonts = match picture::fonts() {
        Ok(fonts) => fonts,
        Err(name) => {
            assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`{name}` is not installed");
            // Written past the test harness, which would swallow it.
            let _ = std::io::stderr().write_all(format!("skipped: {name} not found\n").as_bytes());
            return;
        }
    };
    for (name, svg) in pictures() {
        // Painting all of them takes seconds, and one with wide letters and blocks tells whether it works.
        if !update() && name != "outage-80x24" {
            continue;
        }
        let pixmap = picture::paint(&svg, fonts.clone());
        if name == "outage-80x24" {
            assert_eq!((pixmap.width(), pixmap.height()), (1116, 720));
        }
        let ground = pixmap.pixel(pixmap.width() / 2, 3);
        let inked = pixmap.pixels().iter().filter(|it| Some(**it) != ground).count();
        assert!(inked * 20 > pixmap.pixels().len(), "{name}: {inked} pixels are not ground");
        if update() {
            let png = pixmap.encode_png().expect("encoding needs memory only");
            std::fs::write(folder().join(format!("{name}.png")), png).expect("the folder is writable");
        }
    }
}
