//! The formats of log lines, and how the bytes of one source are to be read.
//!
//! What a line is, is told by the line itself, so a source may mix formats and change them. A source's
//! settings say what lines do not: the zone of its clock, how far that clock is off, and which format to
//! take where a line could be read in two ways.

pub mod cri;
pub mod export;
pub mod fields;
pub mod otlp;
pub mod readable;
pub mod text;
pub mod user;
pub mod web;

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::logstore::format::user::UserFormat;
use crate::logstore::stamp::StampReader;

/// A format of log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// JSON objects, one a line or indented over many: zap, pino, logrus, bunyan, serilog, tracing, ECS, journald.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// Access lines of nginx and Apache, common and combined.
    Access,
    /// Error lines of nginx and Apache.
    WebError,
    /// Syslog, RFC 3164 and RFC 5424.
    Syslog,
    /// klog and glog: `I0819 14:30:01.123456       1 main.go:1] `.
    Klog,
    /// log4j, logback, and what is laid out like them.
    Log4j,
    /// Python's logging, with its milliseconds behind a comma.
    Python,
    /// The server log of PostgreSQL.
    Postgres,
    /// Error and slow query logs of MySQL and MariaDB.
    Mysql,
    /// Redis and Valkey.
    Redis,
    /// HAProxy, HTTP and TCP.
    Haproxy,
    /// `journalctl -o export`.
    Export,
    /// Any text with a timestamp.
    Text,
    /// Text without timestamps: digits that look like one are text.
    Plain,
    /// A regex of the config.
    User(Arc<UserFormat>),
}

/// The names of the formats that can be asked for.
pub const NAMES: [(&str, Format); 15] = [
    ("json", Format::Json),
    ("logfmt", Format::Logfmt),
    ("access", Format::Access),
    ("web-error", Format::WebError),
    ("syslog", Format::Syslog),
    ("klog", Format::Klog),
    ("log4j", Format::Log4j),
    ("python", Format::Python),
    ("postgres", Format::Postgres),
    ("mysql", Format::Mysql),
    ("redis", Format::Redis),
    ("haproxy", Format::Haproxy),
    ("export", Format::Export),
    ("text", Format::Text),
    ("plain", Format::Plain),
];

impl Format {
    /// The format of a name, among those that are built in.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(it, _)| *it == name).map(|(_, format)| format.clone())
    }

    /// Its name, as it is written in a config.
    pub fn name(&self) -> &str {
        match self {
            Self::User(format) => &format.name,
            other => NAMES.iter().find(|(_, it)| it == other).map_or("text", |(name, _)| name),
        }
    }
}

/// How the bytes of a source are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The zone of times that name none; `None` is the engine's.
    pub zone: Option<TimeZone>,
    /// Added to the times of its lines: how far its clock is behind.
    pub offset: SignedDuration,
    /// The format its lines have; `None` tells it line by line.
    pub format: Option<Format>,
    /// Fields that its readers want to see as columns.
    pub columns: Vec<String>,
}

impl Reading {
    /// Reads the timestamps of a source's lines. `zone` is used where the source has none of its own;
    /// times without a year lie before `reference` (a day of slack).
    pub fn stamp_reader(&self, zone: &TimeZone, reference: Timestamp) -> StampReader {
        let zone = self.zone.as_ref().unwrap_or(zone).clone();
        StampReader::new(zone, reference).with_offset(self.offset).with_format(self.format.clone())
    }

    /// The user's own format, when one is forced.
    pub fn user_format(&self) -> Option<&UserFormat> {
        match &self.format {
            Some(Format::User(format)) => Some(format),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
