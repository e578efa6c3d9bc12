//! Records and gaps as scripts read them: one JSON object a line.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::log::{GapKind, Level, Record};

/// A record for a script.
#[derive(Debug, Serialize)]
pub struct JsonRecord<'a> {
    source: &'a str,
    time: Option<Timestamp>,
    level: Option<Level>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<serde_json::Map<String, serde_json::Value>>,
    context: bool,
    cut_bytes: u64,
}

impl<'a> JsonRecord<'a> {
    /// A record of the source of this name; `fields` are those that were asked for.
    pub fn new(source: &'a str, record: &Record, fields: Option<serde_json::Map<String, serde_json::Value>>) -> Self {
        Self {
            source,
            time: record.position.time,
            level: record.level,
            text: record.original.as_ref().unwrap_or(&record.lines).join("\n"),
            fields,
            context: record.context,
            cut_bytes: record.cut_bytes,
        }
    }
}

/// A place where something is missing, for a script.
#[derive(Debug, Serialize)]
pub struct JsonGap<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// What happened.
    pub gap: &'a GapKind,
}
