//! The agent's log: one line an event, `key=value` or JSON, on standard error or in a file that can be reopened.
//!
//! On standard error of a service the journal knows time and host; there a line begins with `<n>`, which the journal
//! takes for its priority (`sd-daemon(3)`).

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::logging;
use crate::clock;
use crate::domain::sanitise;

/// Characters of a value: an error that quotes a page must not become one.
const VALUE_MAX_CHARS: usize = 2_000;

/// Where the log goes. Cloning is cheap.
#[derive(Clone)]
pub struct Log {
    file: Option<Arc<LogFile>>,
}

struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Starts logging to a file, else to standard error.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn start(path: Option<PathBuf>, json: bool) -> io::Result<Self> {
        let file = match path {
            Some(path) => Some(Arc::new(LogFile { file: Mutex::new(open(&path)?), path })),
            None => None,
        };
        let log = Self { file };
        let shape = match (json, log.file.is_none() && is_journal()) {
            (true, _) => Shape::Json,
            (false, true) => Shape::Journal,
            (false, false) => Shape::Words,
        };
        tracing_subscriber::fmt()
            .with_env_filter(logging::filter())
            .with_ansi(false)
            .log_internal_errors(false)
            .event_format(Lines { shape })
            .with_writer(log.clone())
            .try_init()
            .map_err(io::Error::other)?;
        Ok(log)
    }

    /// Opens the file anew, for whoever has moved it aside.
    ///
    /// # Errors
    /// When it cannot be opened; the one before is written on.
    pub fn reopen(&self) -> io::Result<()> {
        let Some(log) = &self.file else { return Ok(()) };
        let file = open(&log.path)?;
        *log.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// True when standard error is the journal, which says so by the device and the inode of the socket.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = rustix::io::dup(io::stderr()) else { return false };
    File::from(stderr).metadata().is_ok_and(|it| named == format!("{}:{}", it.dev(), it.ino()))
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.file {
            Some(log) => log.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Words,
    Journal,
    Json,
}

/// Writes one event as one line.
struct Lines {
    shape: Shape,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let line = match self.shape {
            Shape::Json => json(level, fields),
            shape => words(level, fields, shape),
        };
        writeln!(writer, "{line}")
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn json(level: Level, fields: Fields) -> String {
    let mut object = Map::new();
    object.insert("time".into(), format!("{:.3}", clock::now()).into());
    object.insert("level".into(), level_word(level).into());
    object.insert("msg".into(), fields.message.into());
    for (name, value) in fields.others {
        object.insert(name.into(), value);
    }
    Value::Object(object).to_string()
}

fn words(level: Level, fields: Fields, shape: Shape) -> String {
    let mut line = String::new();
    // Writing to a string does not fail.
    let _ = match shape {
        Shape::Journal => write!(line, "<{}>", priority(level)),
        _ => write!(line, "time={:.3} level={} ", clock::now(), level_word(level)),
    };
    let _ = write!(line, "msg={}", quoted(&fields.message));
    for (name, value) in fields.others {
        let value = match value {
            Value::String(text) => quoted(&text),
            other => other.to_string(),
        };
        let _ = write!(line, " {name}={value}");
    }
    line
}

/// The words of syslog, by number.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn quoted(text: &str) -> String {
    let is_word = !text.is_empty() && !text.contains(|it: char| it.is_whitespace() || "\"=\\".contains(it));
    if is_word { text.to_string() } else { Value::String(text.to_string()).to_string() }
}

/// The fields of an event; what others wrote is made harmless and short.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let value = match value {
            Value::String(text) => Value::String(sanitise::text(&text).chars().take(VALUE_MAX_CHARS).collect()),
            other => other,
        };
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            // Empty says nothing, and `log.…` is the bridge's own.
            (_, Value::String(text)) if text.is_empty() => {}
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn fields() -> Fields {
        let others = vec![("probe", Value::from("api")), ("why", "a b=\"c\"".into()), ("attempt", 2.into())];
        Fields { message: "probe down".into(), others }
    }

    #[test]
    fn an_event_is_one_line_of_words() {
        let line = words(Level::WARN, fields(), Shape::Words);
        let (time, rest) = line.split_once(' ').expect("a time");
        assert!(time.starts_with("time=20") && time.ends_with('Z'), "{line}");
        assert_eq!(rest, "level=warn msg=\"probe down\" probe=api why=\"a b=\\\"c\\\"\" attempt=2");
        assert_eq!(words(Level::ERROR, fields(), Shape::Journal).split(' ').next(), Some("<3>msg=\"probe"));
    }

    #[test]
    fn an_event_is_one_object() {
        let line = json(Level::INFO, fields());
        let object: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            (&object["level"], &object["msg"], &object["attempt"]),
            (&"info".into(), &"probe down".into(), &2.into())
        );
    }

    #[test]
    fn a_log_that_was_moved_aside_is_begun_anew_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("agent.log");
        let file = Some(Arc::new(LogFile { file: Mutex::new(open(&path).expect("opened")), path: path.clone() }));
        let mut log = Log { file };
        log.write_all(b"one\n").expect("written");
        std::fs::rename(&path, dir.path().join("agent.log.1")).expect("moved");
        log.write_all(b"two\n").expect("written");
        log.reopen().expect("reopened");
        log.write_all(b"three\n").expect("written");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("read");
        assert_eq!((read("agent.log.1").as_str(), read("agent.log").as_str()), ("one\ntwo\n", "three\n"));
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
