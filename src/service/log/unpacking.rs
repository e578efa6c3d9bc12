//! Archives and rotated files of a log: unpacked beside the thread that follows files.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::format;
use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::domain::sanitise;
use crate::logstore::archive::{self, Packing, Workers};
use crate::logstore::engine::Engine;
use crate::logstore::history;
use crate::logstore::segment::{FINGERPRINT_BYTES, Segment};
use crate::logstore::source::{GapMark, Part, Source};
use crate::logstore::spool::{Room, Spool, SpoolBounds};
use crate::service::log::feeder::FactSink;

/// While an archive is unpacked, windows look again so often.
const GREW_INTERVAL: Duration = Duration::from_millis(50);
/// An archive that was replaced is opened again when it has rested for so long.
const REST: Duration = Duration::from_secs(1);

/// What unpacks, and into what.
#[derive(Clone)]
pub struct Unpacking {
    engine: Arc<Engine>,
    facts: FactSink,
    directory: PathBuf,
    workers: Workers,
    room: Room,
}

/// What an archive was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
}

/// An archive that is a source of its own.
pub struct Archive {
    identity: Option<Identity>,
    other: Option<(Identity, Instant)>,
    stopped: CancellationToken,
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

impl Archive {
    /// True when another file stands at the path, and rests.
    pub fn is_replaced(&mut self, path: &Path, instant: Instant) -> bool {
        let now = fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| Identity::of(&it));
        let Some(now) = now.filter(|it| Some(*it) != self.identity) else {
            self.other = None;
            return false;
        };
        match self.other {
            Some((other, since)) if other == now => instant.duration_since(since) >= REST,
            _ => {
                self.other = Some((now, instant));
                false
            }
        }
    }

    /// True when it is about to be replaced.
    pub fn is_changing(&self) -> bool {
        self.other.is_some()
    }
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Unpacking {
    /// Unpacks into `state_dir`.
    pub fn new(engine: Arc<Engine>, facts: FactSink, state_dir: &Path) -> Self {
        let directory = state_dir.join("spool");
        // A full disk is often full of logs, and is often not the only one.
        let room = Room::with_elsewhere([std::env::temp_dir(), PathBuf::from("/var/tmp")]);
        Self { engine, facts, directory, workers: Workers::default(), room }
    }

    /// The directory of what is unpacked, made when it is not there.
    pub fn directory(&self) -> &Path {
        // Without it nothing is unpacked, which is said where that is tried.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        &self.directory
    }

    /// Unpacks an archive as a source of its own, until `cancel` ends it.
    pub fn start(&self, source: &Arc<Source>, file: File, packing: Packing, cancel: &CancellationToken) -> Archive {
        let stopped = cancel.child_token();
        let identity = file.metadata().ok().map(|it| Identity::of(&it));
        let archive = Archive { identity, other: None, stopped: stopped.clone() };
        let (this, source, unfinished) = (self.clone(), source.clone(), source.begin());
        self.directory();
        self.workers.start(move || {
            let engine = this.engine.clone();
            let mut spool = Spool::of_archive(source.clone(), &this.directory, SpoolBounds::ARCHIVE, &this.room)
                .telling(Box::new(move || engine.grew()));
            let mut told = clock::monotonic();
            let mut grew = || {
                let instant = clock::monotonic();
                if instant.duration_since(told) >= GREW_INTERVAL {
                    told = instant;
                    this.grew(&source);
                }
                !stopped.is_cancelled()
            };
            if !grew() {
                return;
            }
            let result = archive::unpack(file, packing, &mut spool, &mut grew);
            if stopped.is_cancelled() {
                return;
            }
            let state = match result.broken {
                None => SourceState::Ended,
                Some(why) => {
                    let why = sanitise::text(&why);
                    let kind = GapKind::Broken { read_bytes: result.read_bytes, why: why.clone() };
                    source.set_tail(Some(GapMark { kind: kind.clone(), at: clock::now() }));
                    (this.facts)(LogFact::Gap { source: source.id.clone(), kind });
                    SourceState::Failed(why)
                }
            };
            drop(unfinished);
            (this.facts)(LogFact::State { source: source.id.clone(), state });
            this.grew(&source);
        });
        archive
    }

    /// Puts the rotated files of a log before it: plain ones at once, packed ones when they are unpacked.
    pub fn start_history(&self, source: &Arc<Source>, live: &Path, cancel: &CancellationToken) {
        let (files, more) = history::files_of(live);
        let mut rank = 0;
        for path in &files {
            rank += 1;
            let Ok(file) = File::open(path) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            if source.holds(metadata.dev(), metadata.ino()) {
                continue;
            }
            let Ok(mut segment) = Segment::file_in(file, Source::history_number(rank), self.directory()) else {
                continue;
            };
            match segment.packing() {
                Some(packing) => {
                    if let Ok(file) = segment.reopened() {
                        self.start_packed_history(source, rank, file, packing, cancel);
                    }
                }
                None => {
                    segment.reading = source.reading();
                    source.put_history(rank, vec![Part { segment: Arc::new(segment), gap: None, size_bytes: 0 }]);
                }
            }
        }
        if more > 0 {
            let kind = GapKind::Failed(format!("{} are not opened", format::plural(more as u64, "older rotated file")));
            source.put_history(rank + 1, vec![stub(rank + 1, 0, kind)]);
        }
        self.grew(source);
    }

    fn start_packed_history(
        &self,
        source: &Arc<Source>,
        rank: u32,
        file: File,
        packing: Packing,
        cancel: &CancellationToken,
    ) {
        let (this, source, unfinished, cancel) = (self.clone(), source.clone(), source.begin(), cancel.clone());
        self.workers.start(move || {
            let mut go_on = || !cancel.is_cancelled();
            let known = archive::beginning(&file, packing, FINGERPRINT_BYTES);
            // It may have been rotated and packed while it was followed here.
            let is_held = known.is_some_and(|it| source.parts().iter().any(|part| part.segment.begins_as(&it)));
            let Ok(file) = rewound(file) else { return };
            // Shown when it is whole: rows that grow in the middle of a log would move under the reader.
            if !is_held && go_on() {
                let unpacked = Arc::new(source.beside(Source::history_number(rank)));
                let mut spool = Spool::of_archive(unpacked.clone(), &this.directory, SpoolBounds::ARCHIVE, &this.room);
                let result = archive::unpack(file, packing, &mut spool, &mut go_on);
                let mut parts = unpacked.parts();
                if let Some(why) = result.broken {
                    let kind = GapKind::Broken { read_bytes: result.read_bytes, why: sanitise::text(&why) };
                    parts.push(stub(rank, parts.len() as u64, kind));
                }
                if !cancel.is_cancelled() {
                    source.put_history(rank, parts);
                }
            }
            drop(unfinished);
            this.grew(&source);
        });
    }

    fn grew(&self, source: &Arc<Source>) {
        (self.facts)(LogFact::Grew { source: source.id.clone(), size_bytes: source.size_bytes() });
        self.engine.grew();
    }
}

/// A part without bytes that says what is missing.
fn stub(rank: u32, index: u64, kind: GapKind) -> Part {
    let segment = Segment::memory(Source::history_number(rank) + index);
    Part { gap: Some(GapMark { kind, at: segment.modified() }), segment: Arc::new(segment), size_bytes: 0 }
}

fn rewound(mut file: File) -> std::io::Result<File> {
    use std::io::Seek;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::log::{Anchor, Row, ViewId, WindowRequest, WindowSource};
    use crate::logstore::archive::tests::pack;
    use crate::service::log::{LogService, LogSpec, from_operands, with_history};
    use crate::service::{FactSender, ServiceSetup};

    /// A deadline that only a broken test meets.
    const LONG: Duration = Duration::from_secs(60);

    struct Desk {
        directory: tempfile::TempDir,
        setup: ServiceSetup,
    }

    impl Drop for Desk {
        fn drop(&mut self) {
            self.setup.cancel.cancel();
        }
    }

    impl Desk {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let setup = ServiceSetup {
                host: HostId::new("h"),
                user: "tester".into(),
                state_dir: directory.path().join(".state"),
                facts: FactSender::channel().0,
                cancel: CancellationToken::new(),
            };
            Self { directory, setup }
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.directory.path().join(name), bytes).unwrap();
        }

        fn operands(&self, names: &[&str]) -> Vec<LogSpec> {
            let path = |it: &&str| self.directory.path().join(it).to_string_lossy().into_owned();
            from_operands(&names.iter().map(path).collect::<Vec<_>>())
        }

        fn open(&self, specs: Vec<LogSpec>) -> LogService {
            let service = LogService::start_opened(&self.setup, specs);
            until(&service, || service.engine().is_settled());
            service
        }
    }

    fn until(service: &LogService, holds: impl Fn() -> bool) {
        loop {
            let seen = service.engine().changes();
            if holds() {
                return;
            }
            assert!(service.engine().wait_for_change(seen, LONG), "nothing changes");
        }
    }

    fn rows(service: &LogService) -> Vec<String> {
        let (rows_tx, rows_rx) = std::sync::mpsc::sync_channel(1000);
        let request = WindowRequest::new(ViewId(1), 1, Anchor::Tail, (1000, 0));
        service.engine().request(request, Box::new(move |window| rows_tx.send(window.rows).is_ok()));
        let text = |row: &Row| match row {
            Row::Record(record) => record.lines.join("|"),
            Row::Gap(gap) => format!("{:?}", gap.kind),
            Row::Break => "--".into(),
        };
        let mut last = Vec::new();
        // The last window of a request is whole; its sender goes with it.
        while let Ok(Some(rows)) = rows_rx.recv_timeout(LONG) {
            last = rows.iter().map(text).collect();
        }
        last
    }

    fn line(second: usize, text: &str) -> String {
        format!("2026-08-19T00:00:{second:02}Z {text}\n")
    }

    fn shown(seconds: std::ops::Range<usize>) -> Vec<String> {
        seconds.map(|it| line(it, &format!("n{it}")).trim_end().to_string()).collect()
    }

    fn lines(seconds: std::ops::Range<usize>) -> Vec<u8> {
        seconds.map(|it| line(it, &format!("n{it}"))).collect::<String>().into_bytes()
    }

    #[test]
    fn archives_are_logs_as_operands_in_patterns_and_in_directories() {
        let desk = Desk::new();
        desk.write("a.log.gz", &pack(Packing::Gzip, &lines(0..3)));
        // The name says nothing, and neither does its absence.
        desk.write("b", &pack(Packing::Zstd, &lines(3..6)));
        desk.write("c.log.gz", &lines(6..9));
        for specs in [desk.operands(&["a.log.gz", "b", "c.log.gz"]), desk.operands(&["*"]), desk.operands(&["."])] {
            let service = desk.open(specs);
            let names: Vec<String> = service.engine().sources().iter().map(|it| it.name.clone()).collect();
            assert_eq!(names, ["a", "b", "c"]);
            assert_eq!(rows(&service), shown(0..9));
        }
    }

    #[test]
    fn rotated_files_stand_before_the_live_one_in_their_order() {
        let desk = Desk::new();
        desk.write("api.log.10.zst", &pack(Packing::Zstd, &lines(0..5)));
        desk.write("api.log.2.gz", &pack(Packing::Gzip, &lines(5..10)));
        desk.write("api.log.1", &lines(10..15));
        desk.write("api.log", &lines(15..20));
        desk.write("api-error.log", b"another log\n");
        let named = desk.open(desk.operands(&["api.log*"]));
        assert_eq!(rows(&named), shown(0..20), "a pattern that names them");
        let wanted = desk.open(with_history(desk.operands(&["api.log"])));
        assert_eq!(rows(&wanted), shown(0..20), "asked for");
        assert_eq!(rows(&desk.open(desk.operands(&["api.log"]))), shown(15..20), "not asked for");
    }

    #[test]
    fn a_broken_rotated_file_is_a_gap_in_its_place() {
        let desk = Desk::new();
        let packed = pack(Packing::Gzip, &lines(0..5));
        desk.write("api.log.1.gz", &packed[..packed.len() - 4]);
        desk.write("api.log", &lines(5..7));
        let found = rows(&desk.open(desk.operands(&["api.log*"])));
        let gap = "Broken { read_bytes: 120, why: \"it ends in the middle\" }".to_string();
        assert_eq!(found, [shown(0..5), vec![gap], shown(5..7)].concat());
    }

    #[test]
    fn what_was_rotated_and_packed_while_it_was_read_is_not_shown_twice() {
        let desk = Desk::new();
        desk.write("api.log", &lines(0..5));
        let service = desk.open(with_history(desk.operands(&["api.log"])));
        let path = |name: &str| desk.directory.path().join(name);
        fs::rename(path("api.log"), path("api.log.1")).unwrap();
        desk.write("api.log", &lines(5..7));
        until(&service, || service.engine().sources()[0].parts().len() == 2);
        desk.write("api.log.1.gz", &pack(Packing::Gzip, &lines(0..5)));
        fs::remove_file(path("api.log.1")).unwrap();
        let source = service.engine().sources()[0].clone();
        let unpacking = Unpacking::new(service.engine().clone(), Arc::new(|_| ()), &desk.setup.state_dir);
        unpacking.start_history(&source, &path("api.log"), &desk.setup.cancel);
        until(&service, || service.engine().is_settled());
        assert_eq!(rows(&service), [shown(0..5), vec!["Rotated".into()], shown(5..7)].concat());
    }

    #[test]
    fn an_archive_that_is_replaced_is_read_again_when_it_rests() {
        let desk = Desk::new();
        let path = desk.directory.path().join("a.gz");
        desk.write("a.gz", &pack(Packing::Gzip, &lines(0..2)));
        let mut archive = Archive {
            identity: Some(Identity::of(&fs::metadata(&path).unwrap())),
            other: None,
            stopped: CancellationToken::new(),
        };
        let start = clock::monotonic();
        assert!(!archive.is_replaced(&path, start + LONG), "untouched");
        desk.write("a.gz", &pack(Packing::Gzip, &lines(0..30)));
        assert!(!archive.is_replaced(&path, start) && archive.is_changing());
        desk.write("a.gz", &pack(Packing::Gzip, &lines(0..60)));
        assert!(!archive.is_replaced(&path, start + REST), "still being written");
        assert!(archive.is_replaced(&path, start + 2 * REST));
    }
}
