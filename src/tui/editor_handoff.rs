//! Hands a text to `$VISUAL` or `$EDITOR` through a private file.
//!
//! The file lies in the state directory, so a dropped connection leaves the text behind. The command is
//! split into words here; no shell ever sees it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::service::private_file;

/// Largest text read back. An incident document is a few pages.
const TEXT_MAX_BYTES: u64 = 8 << 20;

/// An editor that has the terminal.
#[derive(Debug)]
pub struct Handoff {
    child: Child,
    path: PathBuf,
    editor: String,
}

impl Handoff {
    /// Writes the text to a file and starts the editor on it.
    ///
    /// # Errors
    /// In words: what failed, why, what to do.
    pub fn start(state_dir: &Path, text: &str) -> Result<Self, String> {
        let editor =
            ["VISUAL", "EDITOR"].iter().find_map(|it| std::env::var(it).ok().filter(|it| !it.trim().is_empty()));
        let editor = editor.unwrap_or_else(|| "vi".into());
        let words = split_words(&editor).ok_or_else(|| format!("could not read `{editor}`: a quote is not closed"))?;
        let path = state_dir.join("edit").join(format!("note-{:08x}.md", fastrand::u32(..)));
        private_file::write(&path, text.as_bytes())
            .map_err(|error| format!("could not write `{}`: {error}", path.display()))?;
        let (program, arguments) = words.split_first().ok_or("no editor is named")?;
        let mut command = Command::new(program);
        // Stdin may be a pipe of logs; an editor wants the terminal.
        let tty = fs::OpenOptions::new().read(true).write(true).open("/dev/tty");
        let stdin = tty.map_or_else(|_| Stdio::inherit(), Stdio::from);
        match command.args(arguments).arg(&path).stdin(stdin).spawn() {
            Ok(child) => Ok(Self { child, path, editor }),
            Err(error) => {
                // The text is still in the hands of who asked.
                let _ = fs::remove_file(&path);
                Err(format!("could not start `{editor}`: {error} (set VISUAL or EDITOR)"))
            }
        }
    }

    /// Waits until the editor is closed and returns the text. May be dropped and called again.
    pub async fn closed(&mut self) -> Result<String, String> {
        match self.child.wait().await {
            Ok(status) if status.success() => {
                let text = self.text()?;
                // Only a text that was taken over may lose its file.
                let _ = fs::remove_file(&self.path);
                Ok(text)
            }
            Ok(status) => {
                Err(format!("`{}` ended with {status}; the text is kept in `{}`", self.editor, self.path.display()))
            }
            Err(error) => {
                Err(format!("lost `{}`: {error}; the text is kept in `{}`", self.editor, self.path.display()))
            }
        }
    }

    /// The text as the editor last wrote it; the file stays. For ends that come before the editor's.
    pub fn text(&self) -> Result<String, String> {
        let fail = |why: String| format!("could not read `{}` back: {why}", self.path.display());
        let length = fs::metadata(&self.path).map_err(|error| fail(error.to_string()))?.len();
        if length > TEXT_MAX_BYTES {
            return Err(fail(format!("larger than {} MiB", TEXT_MAX_BYTES >> 20)));
        }
        let text = fs::read(&self.path).map_err(|error: io::Error| fail(error.to_string()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Splits a command into words: blanks separate, quotes and backslashes join. `None` when a quote stays open.
fn split_words(text: &str) -> Option<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(it) = chars.next() {
        match (quote, it) {
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(open), _) if it == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(it);
                word.get_or_insert_default();
            }
            (None, _) if it.is_whitespace() => words.extend(word.take().map(OsString::from)),
            _ => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word.map(OsString::from));
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_is_split_into_words_without_a_shell() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(split_words(text), Some(expected.iter().map(OsString::from).collect()), "{text}");
        };
        check("vim", &["vim"]);
        check("  code --wait  ", &["code", "--wait"]);
        check(r#"'my editor' "a b" c\ d ''"#, &["my editor", "a b", "c d", ""]);
        check("vim; rm -rf $HOME", &["vim;", "rm", "-rf", "$HOME"]);
        assert_eq!(split_words("vim 'x"), None);
    }
}
