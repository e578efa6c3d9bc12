//! A value of a TOML file with its position, read once and checked for what nobody read.
//!
//! Mistakes are collected, not returned: a reader takes what it needs, gets `None` where something is
//! wrong, and goes on, so that one run of `check` shows everything.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::config_error::{ConfigError, did_you_mean};
use crate::domain::secrets;
use crate::registry::{reference, value};

/// What is said of a secret that is refused because of who can read the file.
pub const EXPOSED: &str = "is written out and every user of this host can read the file";

/// What to do with `${cmd:…}` in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// Run the command and put its output in.
    Run,
    /// Leave the entry out for now, because the first frame must not wait for a program.
    Defer,
}

/// A shorter text is not hidden wherever it stands: that would eat words.
const HIDDEN_MIN: usize = 4;

/// Other files of one config that are remembered: more secrets than one team has. What is more is read and not watched.
const FILES_MAX: usize = 256;

/// A file that was read besides the config itself: a rotation, a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Where it is.
    pub path: PathBuf,
    /// A number that is another one when the content is; `None` when it could not be read. Of this process only.
    pub content: Option<u64>,
}

impl ReadFile {
    /// Looks at a file. It must be looked at before it is read: a change in between is then seen later, not never.
    fn look(path: &str) -> Self {
        let content = reference::read_file(path).ok().map(|text| {
            let mut hasher = std::hash::DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        });
        Self { path: PathBuf::from(path), content }
    }
}

/// A file's text and the mistakes found in it.
pub struct Source {
    file: String,
    text: String,
    commands: Commands,
    deferred: Cell<bool>,
    /// Others on the host can read the file.
    exposed: bool,
    /// Values that no message and no shown line may hold, as they are written.
    hidden: RefCell<Vec<String>>,
    errors: RefCell<Vec<ConfigError>>,
    /// What must not be shown of what the references in its strings stood for, in the order they were read.
    referred: RefCell<Vec<String>>,
    /// Other files that were read for it, and what was in them then.
    files: RefCell<Vec<ReadFile>>,
    /// Entries that others may refer to: what they are, their names and values.
    known: RefCell<BTreeMap<&'static str, Vec<(String, String)>>>,
}

impl Source {
    /// Takes the text of a file, named as the user named it.
    pub fn new(file: &str, text: &str) -> Self {
        Self {
            file: file.to_string(),
            text: text.to_string(),
            commands: Commands::Run,
            deferred: Cell::new(false),
            exposed: false,
            hidden: RefCell::default(),
            errors: RefCell::default(),
            referred: RefCell::default(),
            files: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// Says which entries of a kind (`log`, `query`) the file has, for entries that refer to them by name.
    pub fn make_known(&self, what: &'static str, entries: Vec<(String, String)>) {
        self.known.borrow_mut().insert(what, entries);
    }

    /// Says what to do with `${cmd:…}`.
    #[must_use]
    pub fn with_commands(mut self, commands: Commands) -> Self {
        self.commands = commands;
        self
    }

    /// Says that every user of the host can read the file: secrets written out in it are refused.
    #[must_use]
    pub fn with_exposed(mut self, exposed: bool) -> Self {
        self.exposed = exposed;
        self
    }

    /// Remembers a file that is about to be read for this one.
    pub fn note_file(&self, path: &str) {
        let mut files = self.files.borrow_mut();
        if files.len() < FILES_MAX && !files.iter().any(|it| it.path == Path::new(path)) {
            files.push(ReadFile::look(path));
        }
    }

    /// The other files that were read so far.
    pub fn files(&self) -> Vec<ReadFile> {
        self.files.borrow().clone()
    }

    /// True when a value was left out because of [`Commands::Defer`].
    pub fn is_deferred(&self) -> bool {
        self.deferred.get()
    }

    /// Parses the text. A syntax error is reported and gives `None`.
    pub fn parse(&self) -> Option<Node<'_>> {
        match DeTable::parse(&self.text) {
            Ok(table) => {
                let span = table.span();
                let value = Spanned::new(span, DeValue::Table(table.into_inner()));
                Some(Node::new(self, String::new(), Rc::new(value)))
            }
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let hint =
                    "a text stands in quotes, a list in `[…]`, a table in `{…}`, and each key on a line of its own";
                self.report(span, error.message().replace('\n', ", "), Some(hint.into()));
                None
            }
        }
    }

    /// Returns what was found so far, in the order of the file.
    pub fn errors(&self) -> Vec<ConfigError> {
        let mut errors = self.errors.borrow().clone();
        errors.iter_mut().for_each(|it| self.mask(it));
        errors.sort_by_key(|it| (it.line, it.column));
        errors
    }

    /// Takes what is to be hidden, and what looks like a secret, out of a mistake and the line that it is shown with.
    pub fn mask(&self, error: &mut ConfigError) {
        let mut hidden = self.hidden.borrow().clone();
        // The longest first: once a part of it is stars, a longer one would not be found any more.
        hidden.sort_by_key(|it| std::cmp::Reverse(it.len()));
        for hidden in hidden {
            // As long as what it hides, so that the caret stays below what is wrong.
            let stars = "*".repeat(hidden.chars().count());
            for text in [Some(&mut error.message), error.hint.as_mut(), Some(&mut error.snippet)].into_iter().flatten()
            {
                *text = text.replace(hidden.as_str(), &stars);
            }
        }
        error.snippet = secrets::mask_in_place(&error.snippet);
        if error.message.contains("://") {
            error.message = secrets::mask_in_place(&error.message);
        }
    }

    fn report(&self, span: Range<usize>, message: String, hint: Option<String>) {
        let mut error = ConfigError::at(&self.file, &self.text, span, message);
        error.hint = hint.map(|it| crate::domain::sanitise::multiline(&it));
        let mut errors = self.errors.borrow_mut();
        // A default is read by every entry that lacks the value; its mistake is one mistake.
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
}

/// A value with its position. Cloning is cheap.
#[derive(Clone)]
pub struct Node<'a> {
    source: &'a Source,
    path: String,
    value: Rc<Spanned<DeValue<'a>>>,
    /// Keys of a table that a reader took.
    taken: Rc<RefCell<Vec<String>>>,
    finished: Rc<Cell<bool>>,
}

impl<'a> Node<'a> {
    fn new(source: &'a Source, path: String, value: Rc<Spanned<DeValue<'a>>>) -> Self {
        Self { source, path, value, taken: Rc::default(), finished: Rc::default() }
    }

    /// The entries of a kind by name, as [`Source::make_known`] was told; `None` where nobody has said.
    pub fn known(&self, what: &str) -> Option<Vec<(String, String)>> {
        self.source.known.borrow().get(what).cloned()
    }

    /// The dotted path from the top, for messages: `probe.expect`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Byte range in the file.
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Reports a mistake at this value and what to do about it.
    pub fn error_with_hint(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.source.report(self.span(), message.into(), Some(hint.into()));
    }

    /// Reports a mistake inside a string value: `range` counts bytes of the string.
    pub fn error_within(&self, range: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        let span = self.span();
        // The opening quote is one byte; escapes may shift the rest, then the caret is a little off.
        let start = (span.start + 1 + range.start).min(span.end);
        let end = (span.start + 1 + range.end).clamp(start, span.end);
        self.source.report(start..end, message.into(), hint);
    }

    /// Reports a mistake at a byte range of the file, such as that of a key.
    pub fn error_at(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.source.report(span, message.into(), hint);
    }

    /// Reports a mistake at a key of this table.
    pub fn error_at_key(&self, key: &str, message: impl Into<String>, hint: Option<String>) {
        let span = self.keys().into_iter().find(|(name, _)| name == key).map_or_else(|| self.span(), |(_, span)| span);
        self.error_at(span, message, hint);
    }

    /// This value as JSON, with `${…}` put into its strings. A mistake is reported and gives `None`.
    pub fn json(&self) -> Option<serde_json::Value> {
        use serde_json::Value;
        let value = match self.value.get_ref() {
            DeValue::String(_) => Value::from(self.string()?),
            DeValue::Integer(_) => Value::from(self.integer(i64::MIN..i64::MAX)?),
            DeValue::Float(it) => Value::from(it.as_str().parse::<f64>().ok()?),
            DeValue::Boolean(it) => Value::from(*it),
            DeValue::Datetime(it) => Value::from(it.to_string()),
            DeValue::Array(_) => Value::Array(self.items().iter().map(Self::json).collect::<Option<_>>()?),
            DeValue::Table(_) => {
                let member = |(key, _): (String, _)| Some((key.clone(), self.get(&key)?.json()?));
                Value::Object(self.keys().into_iter().map(member).collect::<Option<_>>()?)
            }
        };
        Some(value)
    }

    /// True for a table, also an inline one.
    pub fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    /// True for a string.
    pub fn is_str(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::String(_))
    }

    /// True for an array.
    pub fn is_array(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    /// True for a table; anything else is reported.
    pub fn expect_table(&self) -> bool {
        if !self.is_table() {
            self.wrong_type(
                "a table",
                "write its keys on lines of their own below `[KEY]`, or in braces: `KEY = { … }`",
            );
        }
        self.is_table()
    }

    /// The 1-based line in the file.
    pub fn line(&self) -> u32 {
        self.point(self.span()).line
    }

    /// Remembers a file that is about to be read because of this value; a change of it is a change of the config.
    pub fn note_file(&self, path: &str) {
        self.source.note_file(path);
    }

    /// Makes an error without words at a byte range of the file, for whoever checks the value later.
    pub fn point(&self, span: Range<usize>) -> ConfigError {
        ConfigError::at(&self.source.file, &self.source.text, span, String::new())
    }

    fn type_name(&self) -> &'static str {
        match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    fn wrong_type(&self, expected: &str, example: &str) {
        let key = self.path.rsplit('.').next().unwrap_or_default();
        self.error_with_hint(
            format!("`{}` must be {expected}, not {}", self.path, self.type_name()),
            example.replace("KEY", key),
        );
    }

    /// Takes a key of this table. A missing key is `None` without a report.
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        self.take(key);
        self.peek(key)
    }

    /// Marks a key as known, so that [`Node::finish`] does not report it.
    pub fn take(&self, key: &str) {
        self.taken.borrow_mut().push(key.to_string());
    }

    /// The keys that no reader took so far, in the order of the file.
    pub fn untaken(&self) -> Vec<(String, Range<usize>)> {
        let taken = self.taken.borrow();
        self.keys().into_iter().filter(|(key, _)| !taken.contains(key)).collect()
    }

    /// Looks at a key of this table without taking it.
    pub fn peek(&self, key: &str) -> Option<Node<'a>> {
        let DeValue::Table(table) = self.value.get_ref() else { return None };
        let (_, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        Some(Node::new(self.source, path, Rc::new(value.clone())))
    }

    /// Takes a key that must be there.
    pub fn require(&self, key: &str) -> Option<Node<'a>> {
        let found = self.get(key);
        if found.is_none() {
            let owner = if self.path.is_empty() { "the file" } else { &self.path };
            self.error_with_hint(
                format!("`{key}` is missing in {owner}"),
                format!("add a line `{key} = …`; `hotseat check --kinds` shows whole examples"),
            );
        }
        found
    }

    /// The keys of this table in the order of the file, with their positions.
    pub fn keys(&self) -> Vec<(String, Range<usize>)> {
        let DeValue::Table(table) = self.value.get_ref() else { return Vec::new() };
        let mut keys: Vec<_> = table.keys().map(|it| (it.get_ref().to_string(), it.span())).collect();
        keys.sort_by_key(|(_, span)| span.start);
        keys
    }

    /// The items of this array; anything else is reported and gives none.
    pub fn items(&self) -> Vec<Node<'a>> {
        let DeValue::Array(array) = self.value.get_ref() else {
            self.wrong_type("an array", "write it in brackets: `[\"…\", \"…\"]`");
            return Vec::new();
        };
        array.iter().map(|it| Node::new(self.source, self.path.clone(), Rc::new(it.clone()))).collect()
    }

    /// The items of this array, or this value alone when it is no array.
    pub fn one_or_many(&self) -> Vec<Node<'a>> {
        if self.is_array() { self.items() } else { vec![self.clone()] }
    }

    /// The string, with `${env:X}`, `${file:/path}` and `${cmd:…}` put in.
    ///
    /// `None` without a report is a command that has not been run yet, see [`Commands::Defer`].
    pub fn string(&self) -> Option<String> {
        let text = self.raw_string()?;
        if self.source.commands == Commands::Defer && value::has_command(&text) {
            self.source.deferred.set(true);
            return None;
        }
        value::files(&text).for_each(|it| self.source.note_file(it));
        let key = self.path.rsplit('.').next().unwrap_or_default();
        match value::interpolate_noting(key, &text, &mut self.source.referred.borrow_mut()) {
            Ok(text) => Some(text),
            Err(error) => {
                self.error_within(error.range, error.message, Some(error.hint));
                None
            }
        }
    }

    /// Runs a reader, and returns with its answer what must not be shown of what the references in all strings that it
    /// read stood for, see [`crate::registry::masked`].
    ///
    /// Whoever builds something of an entry reads through this, so that nothing a reader takes can be forgotten.
    pub fn referred_in<T>(&self, read: impl FnOnce() -> T) -> (T, Vec<String>) {
        let before = self.source.referred.borrow().len();
        let answer = read();
        let found = self.source.referred.borrow()[before..].to_vec();
        (answer, found)
    }

    /// A string that must not be shown, with references put in as [`Node::string`] does.
    ///
    /// Written out in a file that every user of the host can read it is refused. Only the permission bits count:
    /// a directory above that keeps others out may be opened tomorrow.
    pub fn secret(&self) -> Option<String> {
        self.hide();
        let raw = self.raw_str().unwrap_or_default();
        if self.source.exposed && !raw.is_empty() && !value::has_reference(raw) {
            self.refuse_exposed(format!("`{}`", self.path));
            return None;
        }
        self.string()
    }

    /// Reports that a secret stands here in a file that every user of the host can read; true when they can. `what` is
    /// what is written out: the value or a part of it. Once for each value is enough.
    pub fn refuse_exposed(&self, what: String) -> bool {
        let place = self.point(self.span());
        let is_said =
            |it: &ConfigError| (it.line, it.column) == (place.line, place.column) && it.message.ends_with(EXPOSED);
        if self.source.exposed && !self.source.errors.borrow().iter().any(is_said) {
            self.error_with_hint(
                format!("{what} {EXPOSED}"),
                "run `chmod 600` on the file, or put the value elsewhere: `${file:/path}`, `${env:NAME}`, `${cmd:program}`",
            );
        }
        self.source.exposed
    }

    /// Keeps what stands in this value as a secret out of all messages and shown lines.
    pub fn hide_parts(&self) {
        let Some(text) = self.raw_str() else { return };
        let parts = secrets::written_out(text).into_iter().map(|it| text[it].to_string());
        self.source.hidden.borrow_mut().extend(parts.filter(|it| it.len() >= HIDDEN_MIN));
    }

    /// Keeps this value, when it is a text without a reference, out of all messages and shown lines.
    pub fn hide(&self) {
        if let Some(raw) = self.raw_str().filter(|it| it.len() >= HIDDEN_MIN && !value::has_reference(it)) {
            self.source.hidden.borrow_mut().push(raw.to_string());
        }
    }

    /// The string as written.
    pub fn raw_string(&self) -> Option<String> {
        let DeValue::String(text) = self.value.get_ref() else {
            self.wrong_type("a string", "write it in quotes: `\"…\"`");
            return None;
        };
        Some(text.to_string())
    }

    /// The string as written; anything else is `None` without a report.
    pub fn raw_str(&self) -> Option<&str> {
        if let DeValue::String(text) = self.value.get_ref() { Some(text) } else { None }
    }

    /// A boolean.
    pub fn boolean(&self) -> Option<bool> {
        let DeValue::Boolean(value) = self.value.get_ref() else {
            self.wrong_type("true or false", "write the bare word, without quotes: `true` or `false`");
            return None;
        };
        Some(*value)
    }

    /// An integer in a range.
    pub fn integer(&self, range: Range<i64>) -> Option<i64> {
        let DeValue::Integer(value) = self.value.get_ref() else {
            self.wrong_type("an integer", "write a whole number without quotes, as in `3`");
            return None;
        };
        let number = i64::from_str_radix(value.as_str(), value.radix()).ok();
        let found = number.filter(|it| range.contains(it));
        if found.is_none() {
            let (least, most) = (range.start, range.end - 1);
            self.error_with_hint(
                format!("`{}` must be from {least} to {most}", self.path),
                "choose a whole number between the two, or leave the key out",
            );
        }
        found
    }

    /// A duration written with its unit: `"800ms"`, `"15s"`, `"5m"`, `"1h 30m"`, `"7d"`.
    pub fn duration(&self) -> Option<Duration> {
        if !self.is_str() {
            self.error_with_hint(
                format!("`{}` must be a duration with its unit, not {}", self.path, self.type_name()),
                "write a number and a unit in quotes, as in `\"15s\"`",
            );
            return None;
        }
        let text = self.string()?;
        match value::parse_duration(&text) {
            Ok(duration) => Some(duration),
            Err(message) => {
                self.error_with_hint(message, "write a number and a unit, as in `15s`, `800ms`, `1h 30m`");
                None
            }
        }
    }

    /// A string that must be one of a few words.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.string()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("unknown value `{text}` for `{}`", self.path);
        match did_you_mean(&text, list.iter().copied()) {
            Some(near) => self.error_with_hint(message, format!("did you mean `{near}`?")),
            None => self.error_with_hint(message, format!("write one of {}", list.join(", "))),
        }
        None
    }

    /// Reports every key that no reader took; `also` are keys that another reader of the same table knows.
    pub fn finish(&self, also: &[&str]) {
        self.finish_or(also, &[]);
    }

    /// As [`Node::finish`]; `other_names` are words that people write instead of a key, with the key that they mean.
    pub fn finish_or(&self, also: &[&str], other_names: &[(&str, &str)]) {
        if self.finished.replace(true) {
            return;
        }
        let taken = self.taken.borrow();
        for (key, span) in self.keys() {
            if taken.contains(&key) || also.contains(&key.as_str()) {
                continue;
            }
            let known = || taken.iter().map(String::as_str).chain(also.iter().copied());
            let meant = other_names.iter().find(|(it, _)| it.eq_ignore_ascii_case(&key)).map(|(_, meant)| *meant);
            let hint = meant.or_else(|| did_you_mean(&key, known())).map_or_else(
                || {
                    // A key that is read in two places is taken twice.
                    let mut names: Vec<&str> = known().collect();
                    names.sort_unstable();
                    names.dedup();
                    format!("known here: {}", names.join(", "))
                },
                |near| format!("did you mean `{near}`?"),
            );
            let owner = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            self.source.report(span, format!("unknown key `{key}`{owner}"), Some(hint));
        }
    }
}
