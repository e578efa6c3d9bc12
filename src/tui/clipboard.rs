//! Copies text: to the terminal's clipboard by OSC 52, and always into a file.
//!
//! tmux and screen swallow OSC 52 by default, PuTTY does not know it, and nothing ever answers. So the
//! text also lands in `last-copy.txt`, and the notice says where.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use crate::service::private_file;

/// Bytes that the clipboard gets at most: what the stingiest of the terminals takes once it is base64.
pub const CLIPBOARD_MAX_BYTES: usize = 74_994;

/// The file in the state directory that always holds what was copied last.
const LAST_COPY: &str = "last-copy.txt";

/// The sequence that puts a text on the clipboard; `None` when it is too long for terminals.
pub fn sequence(text: &str) -> Option<Vec<u8>> {
    let fits = text.len() <= CLIPBOARD_MAX_BYTES;
    fits.then(|| format!("\x1b]52;c;{}\x1b\\", base64::engine::general_purpose::STANDARD.encode(text)).into_bytes())
}

/// Keeps the text in the state directory and returns the file.
///
/// # Errors
/// When it cannot be written.
pub fn keep(state_dir: &Path, text: &str) -> io::Result<PathBuf> {
    let path = state_dir.join(LAST_COPY);
    private_file::write(&path, text.as_bytes())?;
    Ok(path)
}

/// Says what became of a copy.
pub fn notice(what: &str, kept: Result<&Path, &io::Error>, sent: bool, multiplexed: bool) -> String {
    let sent = match (sent, multiplexed) {
        (true, false) => format!("copied {what}"),
        (true, true) => format!("copied {what}, if tmux or screen passes it on"),
        (false, _) => format!("{what}: too large for the clipboard (limit {} KiB)", CLIPBOARD_MAX_BYTES / 1024),
    };
    match kept {
        Ok(path) => format!("{sent}; also in `{}`", path.display()),
        Err(error) => format!("{sent}; no file kept: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_copied_is_kept_for_the_owner_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let state = dir.path().join("state");
        keep(&state, "first, and longer").expect("kept");
        let path = keep(&state, "second").expect("kept");
        assert_eq!(fs::read_to_string(&path).expect("read"), "second");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).expect("listed").count(), 1, "nothing else is left");
    }

    #[test]
    fn a_text_too_long_for_terminals_is_said_to_be() {
        assert_eq!(sequence("hi").as_deref(), Some(&b"\x1b]52;c;aGk=\x1b\\"[..]));
        assert!(sequence(&"x".repeat(CLIPBOARD_MAX_BYTES + 1)).is_none());
        let path = Path::new("/s/last-copy.txt");
        assert_eq!(notice("3 records", Ok(path), true, false), "copied 3 records; also in `/s/last-copy.txt`");
        assert_eq!(
            notice("3 records", Ok(path), false, false),
            "3 records: too large for the clipboard (limit 73 KiB); also in `/s/last-copy.txt`"
        );
    }
}
