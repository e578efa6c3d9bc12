//! Where commands write: data on stdout, messages on stderr, both injected in tests.

use std::io::{self, Write};

/// The two streams of a command.
pub struct Output<'a> {
    /// Data.
    pub stdout: &'a mut dyn Write,
    /// Messages.
    pub stderr: &'a mut dyn Write,
}

impl Output<'_> {
    /// Writes a value as one line of JSON to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.stdout, value)?;
        self.stdout.write_all(b"\n")
    }
}
