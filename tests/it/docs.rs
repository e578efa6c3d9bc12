//! The README's key table says what the program does. `HOTSEAT_UPDATE_DOCS=1` writes it anew.

use std::fs;
use std::path::Path;

use hotseat::cli::keys::markdown;

const BEGIN: &str = "<!-- keys -->\n";
const END: &str = "<!-- /keys -->";

#[test]
fn the_readme_shows_the_keys_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("there is a README");
    let (before, rest) = readme.split_once(BEGIN).expect("README has `<!-- keys -->`");
    let (table, after) = rest.split_once(END).expect("README has `<!-- /keys -->`");
    let fresh = format!("\n{}\n", markdown());
    if std::env::var_os("HOTSEAT_UPDATE_DOCS").is_some_and(|it| it == "1") {
        let text = format!("{before}{BEGIN}{fresh}{END}{after}");
        fs::write(&path, text).expect("README can be written");
        return;
    }
    assert_eq!(table, fresh, "run `HOTSEAT_UPDATE_DOCS=1 cargo test docs` and commit README.md");
}
