//! How an error looks on the command line, and the exit code it gives.

use std::fmt::Write as _;
use std::process::ExitCode;

/// Why a command failed; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A check failed (exit 1).
    Check,
    /// Wrong usage or config (exit 2).
    Usage,
    /// Something else (exit 3).
    Internal,
}

/// An error with its causes and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: FailureKind,
    /// What failed, on what; lower case, no full stop.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
}

impl Failure {
    /// Makes a failure without causes and hints.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// Wrong usage or config.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// Something that should have worked did not.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message)
    }

    /// Adds why.
    #[must_use]
    pub fn caused_by(mut self, cause: impl ToString) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns a failure for an output that could not be written.
    ///
    /// That nobody reads on (`hotseat logs | head`) is no failure: the caller of all commands sees to it.
    pub fn output(error: &std::io::Error) -> Self {
        Self::internal("could not write the output").caused_by(error)
    }

    /// The text for stderr, with a final newline.
    pub fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for cause in &self.causes {
            let _ = writeln!(text, "caused by: {cause}");
        }
        for hint in &self.hints {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }

    /// The exit code: 1 a check failed, 2 usage or config, 3 internal.
    pub fn exit_code(&self) -> ExitCode {
        match self.kind {
            FailureKind::Check => ExitCode::from(1),
            FailureKind::Usage => ExitCode::from(2),
            FailureKind::Internal => ExitCode::from(3),
        }
    }
}

impl From<std::io::Error> for Failure {
    /// For `?` after writing to [`crate::cli::output::Output`]; other errors deserve their own words.
    fn from(error: std::io::Error) -> Self {
        Self::output(&error)
    }
}
