//! Prints what is met: as text, JSON or bytes, one record after the other.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::rc::Rc;

use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::clock;
use crate::domain::format;
use crate::domain::log::{Counts, GapKind, LINE_BYTES, Record, Row};
use crate::domain::log_words;
use crate::domain::query::level_word;
use crate::domain::query::matcher::Matcher;
use crate::logstore::stream::Met;
use crate::logstore::stream::charted::Charted;
use crate::logstore::walk::stretches::Run;
use crate::service::log::script::{self, JsonGap, JsonRecord};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;
/// A column on a terminal is never wider, so that one long value does not push the others off the screen.
const MAX_COLUMN: usize = 32;

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Their lines, sanitised.
    Text,
    /// The bytes on disk.
    Raw,
    /// One JSON object each.
    Json,
}

/// Prints what is met.
pub struct Printer<'a> {
    form: Form,
    /// Rows are prefixed with their source's name.
    many: bool,
    columns: Columns,
    stdout: BufWriter<&'a mut dyn Write>,
    stderr: &'a mut dyn Write,
    /// Records printed so far, those of context not counted.
    pub printed: u64,
    /// Records are counted and not printed.
    pub silent: bool,
    /// Records are counted by time and level as well.
    pub charted: Option<Charted>,
    /// All records come, and those that pass this are counted.
    pub tested: Option<Tested>,
    /// Set before a record is written to `stdout`, when that one tells them apart.
    pub begins: Option<Rc<Cell<bool>>>,
    /// Something was lost or cannot be read.
    pub is_incomplete: bool,
    /// Sources of which something could not be read.
    pub failed: HashSet<String>,
    /// What was said last of the end of each source.
    told: HashMap<String, GapKind>,
    /// The source and segment of what was written last, when it had no line end.
    torn: Option<(String, u64)>,
}

/// Counts all records that come beside those that pass.
pub struct Tested {
    matcher: Matcher,
    /// Records that came.
    pub seen: u64,
    /// Sources whose last record does not pass so far: it may with what it grows by.
    open: HashSet<usize>,
}

impl Tested {
    /// Tells what passes by this query.
    pub fn new(matcher: Matcher) -> Self {
        Self { matcher, seen: 0, open: HashSet::new() }
    }

    /// Counts a record; true when it passes and did not before.
    fn passes(&mut self, met: &Met<'_>) -> bool {
        let source = met.placed.source;
        let is_first = met.from_byte == 0;
        self.seen += u64::from(is_first);
        let is_asked = is_first || self.open.contains(&source);
        let passes = is_asked && met.passes(&self.matcher);
        if is_asked && !passes {
            self.open.insert(source);
        } else {
            self.open.remove(&source);
        }
        passes
    }
}

impl<'a> Printer<'a> {
    /// Prints records to `stdout` and gaps to `stderr`.
    pub fn new(
        form: Form,
        many: bool,
        columns: Columns,
        (stdout, stderr): (&'a mut dyn Write, &'a mut dyn Write),
    ) -> Self {
        Self {
            form,
            many,
            columns,
            stdout: BufWriter::with_capacity(BUFFER_BYTES, stdout),
            stderr,
            printed: 0,
            silent: false,
            charted: None,
            tested: None,
            begins: None,
            is_incomplete: false,
            failed: HashSet::new(),
            told: HashMap::new(),
            torn: None,
        }
    }

    /// Prints one thing met.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row(&mut self, met: &Met<'_>) -> io::Result<()> {
        let name = &met.presenter.snapshots[met.placed.source].source.name;
        let is_first = !met.context && met.from_byte == 0;
        if self.silent && !met.bytes().is_empty() {
            self.printed += match &mut self.tested {
                Some(tested) => u64::from(tested.passes(met)),
                None => u64::from(is_first),
            };
            if let Some(charted) = self.charted.as_mut().filter(|_| is_first) {
                charted.add(met);
            }
            return Ok(());
        }
        if met.unfinished {
            return self.unfinished(name, met);
        }
        if let Some(begins) = self.begins.clone().filter(|_| is_first && !met.bytes().is_empty()) {
            self.stdout.flush()?;
            begins.set(true);
        }
        if self.form == Form::Raw
            && let Some(extent) = met.extent()
        {
            self.printed += u64::from(is_first);
            return self.raw(name, extent, met);
        }
        // Most lines: nothing to do but to copy them.
        if self.form == Form::Text
            && self.columns.names.is_empty()
            && let Some(bytes) = met.plain_bytes()
        {
            self.printed += u64::from(is_first);
            return self.plain(name, bytes);
        }
        match met.presenter.row(&met.placed, met.context) {
            // Of a record that is too long to be kept, what comes behind the part that was kept is not shown anyway.
            Row::Record(_) if met.from_byte > 0 && met.bytes().is_empty() => Ok(()),
            Row::Record(record) => {
                self.printed += u64::from(is_first);
                self.record(name, &record, met)
            }
            Row::Gap(gap) => {
                if matches!(gap.kind, GapKind::Failed(_)) {
                    self.failed.insert(name.clone());
                    // A store says so where it does not answer, or gives not all; a file also what is only remarkable.
                    self.is_incomplete |= met.presenter.snapshots[met.placed.source].store.is_some();
                }
                self.gap(name, &gap.kind)
            }
            Row::Break => Ok(()),
        }
    }

    /// True when [`Printer::run`] prints what [`Printer::row`] would.
    pub fn takes_runs(&self) -> bool {
        let is_text = self.form == Form::Text && self.columns.names.is_empty() && !self.many;
        self.begins.is_none()
            && self.charted.is_none()
            && self.tested.is_none()
            && (self.silent || self.form == Form::Raw || is_text)
    }

    /// Prints records that need nothing done to them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn run(&mut self, run: &Run) -> io::Result<()> {
        self.printed += run.records;
        if self.silent {
            return Ok(());
        }
        self.end_line()?;
        self.stdout.write_all(run.bytes())
    }

    /// Writes a record as it is on disk, all of it, however long it is.
    fn raw(&mut self, name: &str, (segment, extent): (u64, Range<u64>), met: &Met<'_>) -> io::Result<()> {
        // What is spooled in pieces is put together again.
        let goes_on = self.torn.take().is_some_and(|(torn, number)| {
            (torn == name && number + 1 == segment && extent.start == 0) || met.from_byte > 0 || {
                self.torn = Some((torn, number));
                false
            }
        });
        if !goes_on {
            self.end_line()?;
        }
        self.stdout.write_all(met.bytes())?;
        let mut ends = met.bytes().ends_with(b"\n");
        if let Some((its_segment, rest)) = met.rest() {
            let mut at = rest.start;
            while at < rest.end {
                let piece = its_segment.read(at, rest.end.min(at + BUFFER_BYTES as u64))?;
                if piece.is_empty() {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("`{name}` became shorter")));
                }
                self.stdout.write_all(&piece)?;
                at += piece.len() as u64;
                ends = piece.ends_with(b"\n");
            }
        }
        self.torn = (!ends).then(|| (name.to_string(), segment));
        Ok(())
    }

    /// Ends a line that had no end on disk, before another record follows.
    fn end_line(&mut self) -> io::Result<()> {
        if self.torn.take().is_some() { self.stdout.write_all(b"\n") } else { Ok(()) }
    }

    /// Says what stands in a line that has no end yet: it is no record for whoever reads records.
    fn unfinished(&mut self, name: &str, met: &Met<'_>) -> io::Result<()> {
        if self.form != Form::Text || self.silent {
            return Ok(());
        }
        let Row::Record(record) = met.presenter.row(&met.placed, met.context) else { return Ok(()) };
        let Some(line) = record.lines.last() else { return Ok(()) };
        self.stdout.flush()?;
        let prefix = if self.many { format!("{name}: ") } else { String::new() };
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.stderr, "~ {prefix}a line without its end so far: {line} ~");
        Ok(())
    }

    /// Says that something was lost.
    pub fn lost(&mut self, name: &str, kind: &GapKind) {
        self.is_incomplete = true;
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.stderr, "{}", log_words::gap(name, kind));
    }

    fn gap(&mut self, name: &str, kind: &GapKind) -> io::Result<()> {
        self.is_incomplete |= is_loss(kind);
        if self.form == Form::Json && !self.silent {
            return self.json(&JsonGap { source: name, gap: kind });
        }
        self.stdout.flush()?;
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.stderr, "{}", log_words::gap(name, kind));
        Ok(())
    }

    fn plain(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if self.many {
            for line in body.split(|it| *it == b'\n') {
                self.stdout.write_all(name.as_bytes())?;
                self.stdout.write_all(b": ")?;
                self.stdout.write_all(line)?;
                self.stdout.write_all(b"\n")?;
            }
            return Ok(());
        }
        self.stdout.write_all(body)?;
        self.stdout.write_all(b"\n")
    }

    fn record(&mut self, name: &str, record: &Record, met: &Met<'_>) -> io::Result<()> {
        // Of a record that was printed before, only the lines that came since.
        let printed = met.lines_before();
        let prints_lines = self.form == Form::Json || self.columns.names.is_empty();
        self.is_incomplete |= prints_lines && record.cut_bytes > 0;
        if self.form == Form::Json {
            let object = JsonRecord::new(name, record, self.columns.object(record));
            return self.json(&if met.from_byte > 0 { object.continuing(record, printed) } else { object });
        }
        if !self.columns.names.is_empty() {
            return if printed == 0 { self.columns.write(&mut self.stdout, name, record) } else { Ok(()) };
        }
        for (index, line) in record.lines.iter().enumerate().skip(printed) {
            if self.many {
                self.stdout.write_all(name.as_bytes())?;
                self.stdout.write_all(b": ")?;
            }
            if index == 0 {
                self.stdout.write_all(head_of_readable(record).as_bytes())?;
            }
            self.stdout.write_all(line.as_bytes())?;
            self.stdout.write_all(b"\n")?;
        }
        if let Some(cut) = record.cut_words() {
            writeln!(self.stdout, "~ {cut} not shown; `--raw` prints them ~")?;
        }
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.stdout, value)?;
        self.stdout.write_all(b"\n")
    }

    /// Says that so many bytes of very long lines of a source were not searched.
    pub fn unsearched(&mut self, name: &str, bytes: u64) {
        self.is_incomplete = true;
        let (bytes, limit) = (format::bytes(bytes), format::bytes(LINE_BYTES));
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.stderr, "~ {name}: {bytes} were not searched: of a line, only its first {limit} are ~");
    }

    /// Says something about the query.
    pub fn say(&mut self, line: &str) {
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.stderr, "~ {line} ~");
    }

    /// Says that a store kept something back.
    pub fn incomplete(&mut self) {
        self.is_incomplete = true;
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.stderr, "~ not everything was counted: a store did not answer, or holds too much ~");
    }

    /// Prints how many records there are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn count(&mut self, counts: Counts) -> io::Result<()> {
        self.printed = counts.matched;
        if self.form == Form::Json {
            self.json(&counts)?;
        } else {
            writeln!(self.stdout, "{}", counts.matched)?;
        }
        self.flush()
    }

    /// Where records go.
    pub fn out(&mut self) -> &mut dyn Write {
        &mut self.stdout
    }

    /// Says why sources could not be read to their end, where that was not said before.
    pub fn ends(&mut self, ends: &[(String, GapKind)]) {
        self.told.retain(|name, kind| ends.iter().any(|it| it.0 == *name && it.1 == *kind));
        for (name, kind) in ends.iter().filter(|(_, kind)| *kind != GapKind::Ended) {
            self.failed.insert(name.clone());
            self.is_incomplete |= is_loss(kind) || is_unreadable(kind);
            if self.told.insert(name.clone(), kind.clone()).is_none() {
                // Nobody is left to tell when stderr is closed.
                let _ = writeln!(self.stderr, "{}", log_words::gap(name, kind));
            }
        }
    }

    /// Writes out what was gathered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// True when bytes are missing that were there and could have been had.
fn is_loss(kind: &GapKind) -> bool {
    matches!(kind, GapKind::Dropped { .. } | GapKind::Cut { .. } | GapKind::Broken { .. })
}

/// True when the end of a source says that it cannot be read. A log that is not there yet has nothing to be read.
fn is_unreadable(kind: &GapKind) -> bool {
    matches!(kind, GapKind::PermissionDenied | GapKind::Failed(_))
}

/// The columns of `--columns`: `time`, `level`, `source` and fields.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Their names, as they were asked for.
    pub names: Vec<String>,
    /// Widths so far, for a terminal; `None` separates by tabs.
    widths: Option<Vec<usize>>,
    /// Digits of a second so far, for a terminal.
    digits: usize,
}

impl Columns {
    /// Columns of these names; padded when a person reads them, else with a tab between.
    pub fn new(names: &[String], for_person: bool) -> Self {
        Self { names: names.to_vec(), widths: for_person.then(|| vec![0; names.len()]), digits: 3 }
    }

    /// The names that are fields of records.
    pub fn fields(&self) -> Vec<String> {
        self.names.iter().filter(|it| !is_built_in(it)).cloned().collect()
    }

    /// Programs get all digits, so that text can be sorted; a person gets as many as the logs have, one width from line to
    /// line.
    fn time(&mut self, time: Timestamp) -> String {
        if self.widths.is_none() {
            return script::time(time);
        }
        let nanos = time.subsec_nanosecond();
        let needed = if nanos % 1_000_000 == 0 {
            3
        } else if nanos % 1_000 == 0 {
            6
        } else {
            9
        };
        self.digits = self.digits.max(needed);
        format!("{time:.0$}", self.digits)
    }

    fn cells<'r>(&mut self, source: &'r str, record: &'r Record) -> Vec<std::borrow::Cow<'r, str>> {
        let time = if self.names.iter().any(|it| it == "time") { record.position.time } else { None };
        let time = time.map(|it| self.time(it)).unwrap_or_default();
        let mut fields = record.cells.iter();
        let cell = |name: &String| match name.as_str() {
            "time" => time.clone().into(),
            "level" => record.level.map(level_word).unwrap_or_default().into(),
            "source" => source.into(),
            _ => fields.next().map(String::as_str).unwrap_or_default().into(),
        };
        self.names.iter().map(cell).collect()
    }

    fn write(&mut self, out: &mut dyn Write, source: &str, record: &Record) -> io::Result<()> {
        let cells = self.cells(source, record);
        let last = cells.len().saturating_sub(1);
        for (index, cell) in cells.iter().enumerate() {
            match &mut self.widths {
                None if index > 0 => out.write_all(b"\t")?,
                Some(widths) if index > 0 => out.write_all(b"  ")?,
                _ => {}
            }
            out.write_all(cell.as_bytes())?;
            if let Some(widths) = self.widths.as_mut().filter(|_| index < last) {
                let width = cell.width();
                widths[index] = widths[index].max(width.min(MAX_COLUMN));
                write!(out, "{:1$}", "", widths[index].saturating_sub(width))?;
            }
        }
        out.write_all(b"\n")
    }

    fn object(&self, record: &Record) -> Option<serde_json::Map<String, serde_json::Value>> {
        let fields = self.fields();
        let value = |(name, cell): (String, &String)| (name, serde_json::Value::from(cell.as_str()));
        (!fields.is_empty()).then(|| fields.into_iter().zip(&record.cells).map(value).collect())
    }
}

fn is_built_in(name: &str) -> bool {
    matches!(name, "time" | "level" | "source")
}

/// Time and level of an object that is shown as a readable line, which has neither; other lines have their own.
fn head_of_readable(record: &Record) -> String {
    if record.original.is_none() || record.time_span.is_some() {
        return String::new();
    }
    let time =
        record.position.time.map(|it| it.to_zoned(clock::zone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z ").to_string());
    let level = record.level.map(|it| format!("{:<5} ", level_word(it).to_uppercase()));
    time.unwrap_or_default() + &level.unwrap_or_default()
}
