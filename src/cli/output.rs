//! Where commands write: data on stdout, messages on stderr, both injected in tests.

use std::io::{self, IsTerminal, Write};

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Decides for standard output, by <https://no-color.org> and `CLICOLOR_FORCE`.
    pub fn for_stdout(self) -> bool {
        self.decide(io::stdout().is_terminal())
    }

    /// Decides for standard error.
    pub fn for_stderr(self) -> bool {
        self.decide(io::stderr().is_terminal())
    }

    fn decide(self, is_terminal: bool) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|it| !it.is_empty());
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if is_set("NO_COLOR") => false,
            ColorChoice::Auto if std::env::var_os("CLICOLOR_FORCE").is_some_and(|it| !it.is_empty() && it != "0") => {
                true
            }
            ColorChoice::Auto => is_terminal && std::env::var_os("TERM").is_none_or(|it| it != "dumb"),
        }
    }
}

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
