//! Tables of the README say what the program does. `HOTSEAT_UPDATE_DOCS=1` writes them anew.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hotseat::cli::check::notifier_table;
use hotseat::cli::keys::markdown;

/// One test writes at a time.
static README: Mutex<()> = Mutex::new(());

fn check(name: &str, table: &str) {
    let _turn = README.lock().unwrap_or_else(PoisonError::into_inner);
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("there is a README");
    let (before, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("README has no `{begin}`"));
    let (shown, after) = rest.split_once(&end).unwrap_or_else(|| panic!("README has no `{end}`"));
    let fresh = format!("\n{table}\n");
    if std::env::var_os("HOTSEAT_UPDATE_DOCS").is_some_and(|it| it == "1") {
        let text = format!("{before}{begin}{fresh}{end}{after}");
        fs::write(&path, text).expect("README can be written");
        return;
    }
    assert_eq!(shown, fresh, "run `HOTSEAT_UPDATE_DOCS=1 cargo test docs` and commit README.md");
}

#[test]
fn the_readme_shows_the_keys_as_they_are() {
    check("keys", &markdown());
}

#[test]
fn the_readme_shows_the_notifiers_as_they_are() {
    check("notifiers", &notifier_table());
}
