//! How an error looks on the command line, and the exit code it gives.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::domain::config_error::did_you_mean;

/// Names of the config that a hint lists: two lines of a terminal.
const NAMES_MAX: usize = 12;

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

    /// Says what the config has instead of a name that it does not have: the nearest, else some of them, else `none`.
    #[must_use]
    pub fn instead_of(self, name: &str, names: &[&str], none: &str) -> Self {
        let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
        match (did_you_mean(name, names.iter().copied()), names.len()) {
            (Some(near), _) => self.hint(format!("did you mean `{near}`?")),
            (None, 0) => self.hint(none),
            (None, 1..=NAMES_MAX) => self.hint(format!("the config has {shown}")),
            (None, count) => self.hint(format!("the config has {shown} and {} more", count - NAMES_MAX)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_config_does_not_have_is_answered_in_a_line_or_two() {
        let hint = |name: &str, names: &[&str]| {
            Failure::usage("").instead_of(name, names, "run `hotseat init`").hints.join("")
        };
        assert_eq!(hint("apo", &["api", "db"]), "did you mean `api`?");
        assert_eq!(hint("wiki", &["api", "db"]), "the config has api, db");
        assert_eq!(hint("wiki", &[]), "run `hotseat init`");
        let many: Vec<String> = (0..200).map(|it| format!("service-{it:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let said = hint("wiki", &many);
        assert!(said.ends_with("service-011 and 188 more") && said.len() < 200, "{said}");
    }
}
