//! Writing log records into a file: what a screen asks for, and what it hears about it.

use serde::{Deserialize, Serialize};

use crate::domain::ids::SourceId;
use crate::domain::log::Position;

/// Asks for records in a file. They go there straight from their sources, not through the screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// The file, below the working directory of whoever writes it when it is relative; `~/` is the home. Must not exist.
    pub path: String,
    /// How each record is written.
    pub format: ExportFormat,
    /// The query in its text form.
    pub query: String,
    /// Sources to read; empty is all.
    pub sources: Vec<SourceId>,
    /// Sources left out.
    pub muted: Vec<SourceId>,
    /// The first record; `None` is the oldest.
    pub from: Option<Position>,
    /// The last record; `None` is the newest there is when writing begins.
    pub until: Option<Position>,
}

/// How exported records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// Their lines.
    Text,
    /// One JSON object each.
    Json,
}

impl ExportFormat {
    /// The format that a file's name asks for.
    pub fn of_path(path: &str) -> Self {
        let lower = path.to_ascii_lowercase();
        let is_json = [".json", ".jsonl", ".ndjson"].iter().any(|it| lower.ends_with(it));
        if is_json { ExportFormat::Json } else { ExportFormat::Text }
    }
}

/// How writing goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportNews {
    /// So much was written so far.
    Writing {
        /// Records.
        records: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Everything was written.
    Finished {
        /// The whole path of the file.
        path: String,
        /// Records.
        records: u64,
        /// Bytes.
        bytes: u64,
        /// Places in the range where something is missing.
        gaps: u64,
        /// What of several hosts is not in it although it was asked for, in words, one a host. The file says it as well.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<String>,
    },
    /// It was stopped, and nothing is left of the file.
    Stopped,
    /// It could not be done: what, on what, why, what to do.
    Failed(String),
}
