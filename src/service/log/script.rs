//! Records and gaps as scripts read them: one JSON object a line.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::log::{GapKind, Level, Record};

/// A time with all its digits: whatever the logs say, text that is sorted is in the order of time.
pub fn time(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// A record for a script.
#[derive(Debug, Serialize)]
pub struct JsonRecord<'a> {
    source: &'a str,
    time: Option<String>,
    level: Option<Level>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<serde_json::Map<String, serde_json::Value>>,
    context: bool,
    cut_bytes: u64,
    /// It goes on with the record of the source that was written last, and has only the lines that came since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    continues: bool,
}

impl<'a> JsonRecord<'a> {
    /// A record of the source of this name; `fields` are those that were asked for.
    pub fn new(source: &'a str, record: &Record, fields: Option<serde_json::Map<String, serde_json::Value>>) -> Self {
        Self {
            source,
            time: record.position.time.map(time),
            level: record.level,
            text: record.original.as_ref().unwrap_or(&record.lines).join("\n"),
            fields,
            context: record.context,
            cut_bytes: record.cut_bytes,
            continues: false,
        }
    }

    /// Only what came behind the first `lines` lines, which were written before.
    #[must_use]
    pub fn continuing(self, record: &Record, lines: usize) -> Self {
        let all = record.original.as_ref().unwrap_or(&record.lines);
        Self { text: all.get(lines..).unwrap_or_default().join("\n"), continues: true, ..self }
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
