//! The language of `expect` and `prefer`: `status == 200`, `tls < 200ms`, `json.status == 'ok'`.
//!
//! One comparison a line, with `or` between alternatives; several lines must all hold. A line that does not
//! hold says what was found, so that nobody has to run it again by hand. Parsing is strict: a subject that
//! the probe cannot have, a time without a unit and a bad regex are errors with a position.
//!
//! A subject that is missing from an answer (a header that was not sent) fulfils `!=`, `!~` and
//! `not contains`, and no other comparison.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::domain::config_error::did_you_mean;
use crate::domain::format;
use crate::domain::probe::outcome::{Cause, Perf, Phase, Phases, Trouble};
use crate::domain::sanitise;

/// Bytes of one expression: the longest that a person writes by hand, with room.
pub const EXPRESSION_MAX: usize = 1024;
/// Memory of a compiled regex; a pattern that needs more is a mistake.
const REGEX_MAX_BYTES: usize = 1 << 20;
/// Bytes of a text that stands in a narrow column itself.
const BRIEF_MAX: usize = 16;
/// Characters of an actual value that a failure text shows.
const ACTUAL_MAX: usize = 60;
/// Characters of it that are left for sanitising, which may drop some.
const HIDDEN_MAX: usize = 4 * ACTUAL_MAX;

/// Takes secrets out of a text and cuts it to a number of characters: what the kind of probe knows of them.
pub type Hide<'a> = &'a dyn Fn(&str, usize) -> String;

/// Stands where a secret stood.
pub const MASK: &str = "***";

/// Parts of the name of a header or a member of JSON by which its value is a secret, without `-` and `_`.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "token",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "session",
    "passw",
    "passphrase",
    "signature",
];

/// True for the name of a header or a member of JSON whose text is a secret, whatever it says.
pub fn is_secret_name(name: &str) -> bool {
    let name: String = name.chars().filter(|it| !matches!(it, '-' | '_')).collect::<String>().to_ascii_lowercase();
    SECRET_NAMES.iter().any(|it| name.contains(it))
}

/// What a run found, for the comparisons.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// HTTP status.
    pub status: Option<u16>,
    /// Times of the phases.
    pub phases: Phases,
    /// Whole days until the first certificate of the chain ends.
    pub cert_days: Option<i64>,
    /// Whose certificate that is, when it is not the server's own.
    pub cert_named: Option<String>,
    /// Header names in lower case, and values, in the order they came.
    pub headers: Vec<(String, String)>,
    /// Body, or output of a command.
    pub text: String,
    /// Exit code of a command.
    pub exit: Option<i32>,
    /// Performance values of a command.
    pub perf: Vec<Perf>,
    /// What a kind with [`Subjects::Fields`] found, by the field's name. A text may come several times.
    pub fields: Vec<(&'static str, FieldValue)>,
    /// What is wrong in plain words: said in place of an expression that goes without saying and does not hold.
    pub plainly: Option<String>,
}

/// What a field of [`Subjects::Fields`] is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A number without a unit.
    Number,
    /// A duration.
    Time,
    /// Text; of several, one that fits is enough.
    Text,
    /// Names and addresses; `contains` asks whether one of them is this one, not whether it is part of one.
    Item,
}

/// What was found of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// A number without a unit.
    Number(f64),
    /// A duration.
    Time(Duration),
    /// Texts.
    Texts(Vec<String>),
}

/// A subject that a kind of probe brings itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// As written in `expect`: `rcode`, `loss`.
    pub name: &'static str,
    /// What it is compared as.
    pub kind: FieldKind,
}

/// What can be compared for a kind of probe; decides which subjects parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subjects {
    /// `status`, `total`, the phases, `cert.days` and its like, `body`, `header.NAME`, `json.PATH`.
    Http,
    /// `total`, the phases, `cert.days` and its like, `answer`.
    Tcp,
    /// `exit`, `total`, `output`, `perf.LABEL`, `crits`, `warns`, `json.PATH`.
    Command,
    /// `total`, and these.
    Fields(&'static [Field]),
}

impl Subjects {
    /// What can be written, for messages.
    pub fn words(self) -> Vec<&'static str> {
        let words: &[&'static str] = match self {
            Self::Http => &[
                "status",
                "total",
                "dns",
                "connect",
                "proxy",
                "tls",
                "wait",
                "body",
                "cert.days",
                "cert.issuer",
                "cert.subject",
                "header.NAME",
                "json.PATH",
            ],
            Self::Tcp => {
                &["total", "dns", "connect", "tls", "wait", "cert.days", "cert.issuer", "cert.subject", "answer"]
            }
            Self::Command => &["exit", "total", "output", "perf.LABEL", "crits", "warns", "json.PATH"],
            Self::Fields(fields) => {
                return std::iter::once("total").chain(fields.iter().map(|it| it.name)).collect();
            }
        };
        words.to_vec()
    }
}

/// Who issued the server's certificate.
pub const CERT_ISSUER: Field = Field { name: "cert.issuer", kind: FieldKind::Text };
/// Whom the server's certificate is for.
pub const CERT_SUBJECT: Field = Field { name: "cert.subject", kind: FieldKind::Text };
/// What a server said last.
pub const ANSWER: Field = Field { name: "answer", kind: FieldKind::Text };
/// Days until the first certificate of the chain ends.
pub const CERT_DAYS: Field = Field { name: "cert.days", kind: FieldKind::Number };

/// How many values of a plugin are in their critical range.
pub const CRITS: Field = Field { name: "crits", kind: FieldKind::Number };
/// How many are in their warning range or worse.
pub const WARNS: Field = Field { name: "warns", kind: FieldKind::Number };

/// A field that is a phase's time, by the phase's word: `tls`.
pub const fn phase_field(name: &'static str) -> Field {
    Field { name, kind: FieldKind::Time }
}

/// Where an expression is wrong, by byte range of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// Bytes of the expression.
    pub range: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The subject is unknown to this kind of probe; another may know it.
    pub is_of_kind: bool,
}

/// One line of `expect` or `prefer`.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
    // It goes without saying; the config does not.
    is_usual: bool,
    // Holds when one of them holds; never empty.
    alternatives: Vec<Comparison>,
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[derive(Debug, Clone)]
struct Comparison {
    subject: Subject,
    operator: Operator,
    operand: Operand,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Status,
    Total,
    Phase(Phase),
    CertDays,
    Text,
    Header(String),
    Json(Vec<String>),
    Exit,
    Perf(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Contains,
    NotContains,
    Matches,
    NotMatches,
}

#[derive(Debug, Clone)]
enum Operand {
    Number(f64),
    Time(Duration),
    Text(String),
    Bool(bool),
    Null,
    List(Vec<Operand>),
    Regex(Box<Regex>),
}

/// What a comparison found for its subject.
enum Actual {
    Missing(String),
    Number(f64),
    Time(Duration),
    Texts(Vec<String>),
    Json(Value),
}

impl Expression {
    /// Parses one line.
    ///
    /// # Errors
    /// The first mistake, with its position.
    pub fn parse(text: &str, subjects: Subjects) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_MAX {
            return fail(0..text.len(), format!("an expression of more than {EXPRESSION_MAX} bytes"), None);
        }
        let tokens = tokenise(text)?;
        let mut parser = Parser { text, tokens, at: 0, subjects };
        let mut alternatives = vec![parser.comparison()?];
        while parser.word("or") {
            alternatives.push(parser.comparison()?);
        }
        if let Some(token) = parser.peek() {
            let hint = "write one comparison a line; lines must all hold, `or` stands between alternatives";
            return fail(token.range.clone(), "unexpected text after the comparison", Some(hint.into()));
        }
        Ok(Self { source: text.trim().to_string(), is_usual: false, alternatives })
    }

    /// The same, shown as this text: how the config writes it.
    #[must_use]
    pub fn shown_as(self, text: &str) -> Self {
        Self { source: text.trim().to_string(), ..self }
    }

    /// The same as one that goes without saying.
    #[must_use]
    pub fn usual(self) -> Self {
        Self { is_usual: true, ..self }
    }

    /// True for one that goes without saying.
    pub fn is_usual(&self) -> bool {
        self.is_usual
    }

    /// True when a comparison is about the HTTP status.
    pub fn is_about_status(&self) -> bool {
        self.alternatives.iter().any(|it| it.subject == Subject::Status)
    }

    /// True when a comparison is about this subject, as it is written.
    pub fn is_about(&self, subject: &str) -> bool {
        self.alternatives.iter().any(|it| it.subject.to_string() == subject)
    }

    /// True when a comparison is about a command's exit code.
    pub fn is_about_exit(&self) -> bool {
        self.alternatives.iter().any(|it| it.subject == Subject::Exit)
    }

    /// True when every comparison is about time, so that our own overload can make it false.
    pub fn is_about_time(&self) -> bool {
        self.alternatives.iter().all(|it| matches!(it.subject, Subject::Total | Subject::Phase(_)))
    }

    /// Says why it does not hold, or `None` when it holds.
    ///
    /// What was found passes `hide` before it is cut, because a secret that is cut is not found any more.
    pub fn trouble(&self, values: &Values, hide: Hide<'_>) -> Option<Trouble> {
        let mut first = None;
        for comparison in &self.alternatives {
            let actual = comparison.subject.actual(values);
            if comparison.holds(&actual) {
                return None;
            }
            first.get_or_insert((comparison, actual));
        }
        let (comparison, actual) = first?;
        let of = |text: String| Trouble::new(comparison.subject.cause(), comparison.subject.brief(&actual), text);
        if let Some(words) = values.plainly.as_ref().filter(|_| self.is_usual) {
            return Some(of(words.clone()));
        }
        let mut found = actual.describe(&comparison.subject, hide);
        if let (Subject::CertDays, Some(named)) = (&comparison.subject, &values.cert_named) {
            found.push_str(&format!(" (that of `{named}` in the chain)"));
        }
        Some(of(format!("{found}, expected {}", sanitise::text(&self.source))))
    }
}

impl Comparison {
    fn holds(&self, actual: &Actual) -> bool {
        let negative = matches!(
            self.operator,
            Operator::NotEqual | Operator::NotIn | Operator::NotContains | Operator::NotMatches
        );
        match actual {
            Actual::Missing(_) => negative,
            Actual::Number(number) => self.number_holds(*number),
            Actual::Time(time) => {
                let Operand::Time(limit) = &self.operand else { return false };
                self.ordered(time.cmp(limit))
            }
            // A header may come several times: one that fits is enough, and none may be what is ruled out.
            Actual::Texts(texts) if negative => texts.iter().all(|it| self.text_holds(it)),
            Actual::Texts(texts) => texts.iter().any(|it| self.text_holds(it)),
            Actual::Json(value) => self.json_holds(value),
        }
    }

    fn ordered(&self, ordering: std::cmp::Ordering) -> bool {
        match self.operator {
            Operator::Equal => ordering.is_eq(),
            Operator::NotEqual => ordering.is_ne(),
            Operator::Less => ordering.is_lt(),
            Operator::LessEqual => ordering.is_le(),
            Operator::Greater => ordering.is_gt(),
            Operator::GreaterEqual => ordering.is_ge(),
            _ => false,
        }
    }

    fn number_holds(&self, number: f64) -> bool {
        match &self.operand {
            Operand::Number(limit) => number.partial_cmp(limit).is_some_and(|it| self.ordered(it)),
            Operand::List(items) => {
                let found = items.iter().any(|it| matches!(it, Operand::Number(it) if *it == number));
                found == (self.operator == Operator::In)
            }
            _ => self.operator == Operator::NotEqual,
        }
    }

    fn text_holds(&self, text: &str) -> bool {
        match (&self.operator, &self.operand) {
            (Operator::Matches, Operand::Regex(regex)) => regex.is_match(text),
            (Operator::NotMatches, Operand::Regex(regex)) => !regex.is_match(text),
            (Operator::Contains, Operand::Text(item)) if self.subject.is_item() => is_same_item(text, item),
            (Operator::NotContains, Operand::Text(item)) if self.subject.is_item() => !is_same_item(text, item),
            (Operator::Contains, Operand::Text(part)) => text.contains(part.as_str()),
            (Operator::NotContains, Operand::Text(part)) => !text.contains(part.as_str()),
            (Operator::In | Operator::NotIn, Operand::List(items)) => {
                let found = items.iter().any(|it| matches!(it, Operand::Text(it) if it == text));
                found == (self.operator == Operator::In)
            }
            (_, Operand::Text(other)) => self.ordered(text.cmp(other)),
            // A header is text, but `header.x-queue < 10` means the number in it.
            (_, Operand::Number(_)) => match text.trim().parse() {
                Ok(number) => self.number_holds(number),
                Err(_) => self.operator == Operator::NotEqual,
            },
            _ => self.operator == Operator::NotEqual,
        }
    }

    fn json_holds(&self, value: &Value) -> bool {
        match (value, &self.operand) {
            (Value::Array(items), Operand::Text(part)) => match self.operator {
                Operator::Contains => items.iter().any(|it| it.as_str() == Some(part)),
                Operator::NotContains => !items.iter().any(|it| it.as_str() == Some(part)),
                _ => self.operator == Operator::NotEqual,
            },
            (Value::Bool(found), Operand::Bool(wanted)) => self.ordered(found.cmp(wanted)),
            (Value::Null, Operand::Null) => self.ordered(std::cmp::Ordering::Equal),
            (Value::Number(found), _) => found.as_f64().is_some_and(|it| self.number_holds(it)),
            (Value::String(found), _) => self.text_holds(found),
            _ => matches!(self.operator, Operator::NotEqual | Operator::NotIn),
        }
    }
}

impl Subject {
    fn actual(&self, values: &Values) -> Actual {
        let missing = || Actual::Missing(format!("{self} is missing"));
        match self {
            Self::Status => values.status.map_or_else(missing, |it| Actual::Number(f64::from(it))),
            Self::Total => Actual::Time(values.phases.total()),
            Self::Phase(phase) => values.phases.get(*phase).map_or_else(missing, Actual::Time),
            Self::CertDays => values.cert_days.map_or_else(missing, |it| Actual::Number(it as f64)),
            Self::Text => Actual::Texts(vec![values.text.clone()]),
            Self::Header(name) => {
                let found: Vec<String> =
                    values.headers.iter().filter(|(it, _)| it == name).map(|(_, value)| value.clone()).collect();
                if found.is_empty() { missing() } else { Actual::Texts(found) }
            }
            Self::Json(path) => match serde_json::from_str::<Value>(&values.text) {
                Err(_) => Actual::Missing("the body is not JSON".into()),
                Ok(root) => path
                    .iter()
                    .try_fold(&root, |value, step| match value {
                        Value::Array(items) => step.parse::<usize>().ok().and_then(|at| items.get(at)),
                        _ => value.get(step),
                    })
                    .map_or_else(missing, |it| Actual::Json(it.clone())),
            },
            Self::Field(field) => {
                let found = values.fields.iter().find(|(name, _)| *name == field.name);
                found.map_or_else(missing, |(_, value)| match value {
                    FieldValue::Number(it) => Actual::Number(*it),
                    FieldValue::Time(it) => Actual::Time(*it),
                    FieldValue::Texts(it) if it.is_empty() => missing(),
                    FieldValue::Texts(it) => Actual::Texts(it.clone()),
                })
            }
            Self::Exit => values.exit.map_or_else(missing, |it| Actual::Number(f64::from(it))),
            Self::Perf(label) => {
                let found = values.perf.iter().find(|it| it.label == *label);
                found.map_or_else(missing, |it| Actual::Number(it.value))
            }
        }
    }

    /// A field that the other kinds have under the same name is the same subject.
    fn of(field: Field) -> Self {
        let phase = Phase::ALL.iter().find(|it| field.kind == FieldKind::Time && it.word() == field.name);
        match phase {
            Some(phase) => Self::Phase(*phase),
            None if field == CERT_DAYS => Self::CertDays,
            None => Self::Field(field),
        }
    }

    fn is_time(&self) -> bool {
        matches!(self, Self::Total | Self::Phase(_)) || matches!(self, Self::Field(it) if it.kind == FieldKind::Time)
    }

    /// True when the name says that the value is a secret.
    fn is_secret(&self) -> bool {
        match self {
            Self::Header(name) => is_secret_name(name),
            Self::Json(path) => path.iter().any(|it| is_secret_name(it)),
            _ => false,
        }
    }

    fn is_item(&self) -> bool {
        matches!(self, Self::Field(it) if it.kind == FieldKind::Item)
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Status | Self::CertDays | Self::Exit | Self::Perf(_))
            || matches!(self, Self::Field(it) if it.kind == FieldKind::Number)
    }

    fn cause(&self) -> Cause {
        match self {
            Self::Status => Cause::Status,
            Self::Total | Self::Phase(_) => Cause::Slow,
            Self::CertDays => Cause::Certificate,
            Self::Text | Self::Json(_) => Cause::Body,
            Self::Header(_) => Cause::Header,
            Self::Exit => Cause::Exit,
            Self::Perf(_) => Cause::Perf,
            Self::Field(it) if *it == CERT_ISSUER || *it == CERT_SUBJECT => Cause::Certificate,
            Self::Field(_) => Cause::Value,
        }
    }

    fn brief(&self, actual: &Actual) -> String {
        match (self, actual) {
            (Self::Status, Actual::Number(number)) => number.to_string(),
            (Self::Total | Self::Phase(_), Actual::Time(time)) => format!("slow {}", format::duration(*time)),
            (Self::CertDays, Actual::Number(days)) if *days < 0.0 => "cert expired".into(),
            (Self::CertDays, Actual::Number(days)) => format!("cert {days}d"),
            (Self::Exit, Actual::Number(code)) => format!("exit {code}"),
            (Self::Perf(label), Actual::Number(value)) => sanitise::text(&format!("{label} {value}")),
            (Self::Field(field), Actual::Number(value)) => format!("{} {value}", field.name),
            (Self::Field(field), Actual::Time(time)) => format!("{} {}", field.name, format::duration(*time)),
            // `NXDOMAIN` says more than `rcode`.
            (Self::Field(field), Actual::Texts(texts)) => match texts.as_slice() {
                [text] if text.len() <= BRIEF_MAX && !text.contains('\n') => sanitise::text(text),
                _ => field.name.into(),
            },
            (Self::Header(_), _) => "header".into(),
            (Self::Text | Self::Json(_), _) => "body".into(),
            _ => format!("no {self}"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Total => f.write_str("total"),
            Self::Phase(phase) => f.write_str(phase.word()),
            Self::CertDays => f.write_str("cert.days"),
            Self::Text => f.write_str("body"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Json(path) => write!(f, "json.{}", path.join(".")),
            Self::Exit => f.write_str("exit"),
            Self::Perf(label) => write!(f, "perf.{label}"),
            Self::Field(field) => f.write_str(field.name),
        }
    }
}

impl Actual {
    fn describe(&self, subject: &Subject, hide: Hide<'_>) -> String {
        let shown = match self {
            Self::Missing(text) => return sanitise::text(text),
            Self::Number(number) => number.to_string(),
            Self::Time(time) => format::duration(*time),
            Self::Texts(_) | Self::Json(Value::String(_) | Value::Array(_) | Value::Object(_))
                if subject.is_secret() =>
            {
                format!("'{MASK}'")
            }
            Self::Texts(texts) => hide(&format!("'{}'", texts.join("', '")), HIDDEN_MAX),
            Self::Json(value) => hide(&value.to_string(), HIDDEN_MAX),
        };
        format!("{subject} is {}", shorten(&sanitise::text(&shown), ACTUAL_MAX))
    }
}

/// Names of hosts are the same in upper and lower case, and with the dot at their end.
fn is_same_item(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

/// Cuts text to a number of characters and marks the cut.
pub fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_string(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum TokenKind {
    // A name, number or time: everything without blanks and operators.
    Word(String),
    Quoted(String),
    Operator(Operator),
    Open,
    Close,
    Comma,
}

#[derive(Debug, Clone)]
struct Token {
    kind: TokenKind,
    range: Range<usize>,
}

fn fail<T>(range: Range<usize>, message: impl Into<String>, hint: Option<String>) -> Result<T, ExpressionError> {
    Err(ExpressionError { range, message: message.into(), hint, is_of_kind: false })
}

fn tokenise(text: &str) -> Result<Vec<Token>, ExpressionError> {
    const OPERATORS: &[(&str, Operator)] = &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessEqual),
        (">=", Operator::GreaterEqual),
        ("=~", Operator::Matches),
        ("!~", Operator::NotMatches),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(it) = text[at..].chars().next() {
        let start = at;
        let rest = &text[at..];
        let kind = if it.is_whitespace() {
            at += it.len_utf8();
            continue;
        } else if let Some((sign, operator)) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            at += sign.len();
            TokenKind::Operator(*operator)
        } else if let Some(single) = match it {
            '[' => Some(TokenKind::Open),
            ']' => Some(TokenKind::Close),
            ',' => Some(TokenKind::Comma),
            _ => None,
        } {
            at += 1;
            single
        } else if it == '\'' || it == '"' {
            let Some(length) = rest[1..].find(it) else {
                return fail(start..text.len(), format!("`{it}` without its closing `{it}`"), None);
            };
            at += length + 2;
            TokenKind::Quoted(rest[1..=length].to_string())
        } else if matches!(it, '=' | '!' | '~' | '&' | '|') {
            let hint = match it {
                '=' => Some("compare with `==`".to_string()),
                '&' => Some("write two lines: all of them must hold".to_string()),
                '|' => Some("write `or` between alternatives".to_string()),
                _ => None,
            };
            return fail(start..start + 1, format!("unexpected `{it}`"), hint);
        } else {
            let ends = |it: char| it.is_whitespace() || "[],'\"=!<>~&|".contains(it);
            let length = rest.find(ends).unwrap_or(rest.len());
            at += length;
            TokenKind::Word(rest[..length].to_string())
        };
        tokens.push(Token { kind, range: start..at });
    }
    Ok(tokens)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    subjects: Subjects,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self, wanted: &str) -> Result<Token, ExpressionError> {
        let Some(token) = self.tokens.get(self.at).cloned() else {
            let end = self.text.len();
            return fail(end.saturating_sub(1)..end, format!("{wanted} is missing"), None);
        };
        self.at += 1;
        Ok(token)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token { kind: TokenKind::Word(it), .. }) if it == word);
        self.at += usize::from(found);
        found
    }

    fn comparison(&mut self) -> Result<Comparison, ExpressionError> {
        let subject = self.subject()?;
        let (operator, operator_range) = self.operator()?;
        let operand = self.operand(&subject, operator, &operator_range)?;
        Ok(Comparison { subject, operator, operand })
    }

    fn subject(&mut self) -> Result<Subject, ExpressionError> {
        let token = self.next("a subject such as `status`")?;
        let TokenKind::Word(word) = &token.kind else {
            let hint = format!("begin with one of {}", self.subjects.words().join(", "));
            return fail(token.range, "a comparison begins with a subject", Some(hint));
        };
        let (head, tail) = word.split_once('.').map_or((word.as_str(), None), |(head, tail)| (head, Some(tail)));
        let subject = match (self.subjects, head, tail) {
            (Subjects::Http, "status", None) => Some(Subject::Status),
            (_, "total", None) => Some(Subject::Total),
            (Subjects::Http | Subjects::Tcp, "dns", None) => Some(Subject::Phase(Phase::Dns)),
            (Subjects::Http | Subjects::Tcp, "connect", None) => Some(Subject::Phase(Phase::Connect)),
            (Subjects::Http, "proxy", None) => Some(Subject::Phase(Phase::Proxy)),
            (Subjects::Http | Subjects::Tcp, "tls", None) => Some(Subject::Phase(Phase::Tls)),
            (Subjects::Http | Subjects::Tcp, "wait", None) => Some(Subject::Phase(Phase::Wait)),
            (Subjects::Http | Subjects::Tcp, "cert", Some("days")) => Some(Subject::CertDays),
            (Subjects::Http | Subjects::Tcp, "cert", Some("issuer")) => Some(Subject::Field(CERT_ISSUER)),
            (Subjects::Http | Subjects::Tcp, "cert", Some("subject")) => Some(Subject::Field(CERT_SUBJECT)),
            (Subjects::Tcp, "answer", None) => Some(Subject::Field(ANSWER)),
            (Subjects::Http, "body", None) | (Subjects::Command, "output", None) => Some(Subject::Text),
            (Subjects::Http, "header", Some(name)) if !name.is_empty() => {
                Some(Subject::Header(name.to_ascii_lowercase()))
            }
            (Subjects::Http | Subjects::Command, "json", Some(path)) if !path.split('.').any(str::is_empty) => {
                Some(Subject::Json(path.split('.').map(str::to_string).collect()))
            }
            (Subjects::Command, "exit", None) => Some(Subject::Exit),
            (Subjects::Command, "crits", None) => Some(Subject::Field(CRITS)),
            (Subjects::Command, "warns", None) => Some(Subject::Field(WARNS)),
            (Subjects::Fields(fields), ..) => fields.iter().find(|it| it.name == word).map(|it| Subject::of(*it)),
            (Subjects::Command, "perf", Some(label)) if !label.is_empty() => Some(Subject::Perf(label.to_string())),
            _ => None,
        };
        if let Some(subject) = subject {
            return Ok(subject);
        }
        let words = self.subjects.words();
        let message = format!("unknown subject `{word}`, expected one of {}", words.join(", "));
        let hint = did_you_mean(word, words.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        Err(ExpressionError { range: token.range, message, hint, is_of_kind: true })
    }

    fn operator(&mut self) -> Result<(Operator, Range<usize>), ExpressionError> {
        let token = self.next("an operator such as `==`")?;
        let negated = matches!(&token.kind, TokenKind::Word(it) if it == "not");
        let token = if negated { self.next("`in` or `contains` after `not`")? } else { token };
        let operator = match (&token.kind, negated) {
            (TokenKind::Operator(operator), false) => *operator,
            (TokenKind::Word(word), false) if word == "in" => Operator::In,
            (TokenKind::Word(word), true) if word == "in" => Operator::NotIn,
            (TokenKind::Word(word), false) if word == "contains" => Operator::Contains,
            (TokenKind::Word(word), true) if word == "contains" => Operator::NotContains,
            _ => {
                let hint = "use ==, !=, <, <=, >, >=, in, not in, contains, not contains, =~ or !~";
                return fail(token.range, "an operator is missing here", Some(hint.into()));
            }
        };
        Ok((operator, token.range))
    }

    fn operand(
        &mut self,
        subject: &Subject,
        operator: Operator,
        operator_range: &Range<usize>,
    ) -> Result<Operand, ExpressionError> {
        let numeric = subject.is_time() || subject.is_number();
        let textual =
            matches!(operator, Operator::Contains | Operator::NotContains | Operator::Matches | Operator::NotMatches);
        let listed = matches!(operator, Operator::In | Operator::NotIn);
        if (numeric && textual) || (subject.is_time() && listed) {
            let what = if subject.is_time() { "a time" } else { "a number" };
            return fail(operator_range.clone(), format!("`{subject}` is {what} and cannot be compared so"), None);
        }
        let token = self.next("a value")?;
        if listed {
            return self.list(subject, &token);
        }
        if matches!(operator, Operator::Matches | Operator::NotMatches) {
            return regex(self.text, &token);
        }
        let operand = self.scalar(subject, &token)?;
        if textual && !matches!(operand, Operand::Text(_)) {
            return fail(token.range, "a text in quotes is missing here", None);
        }
        Ok(operand)
    }

    fn list(&mut self, subject: &Subject, open: &Token) -> Result<Operand, ExpressionError> {
        if open.kind != TokenKind::Open {
            return fail(open.range.clone(), "a list is missing here", Some("write `[200, 302]`".into()));
        }
        let mut items = Vec::new();
        loop {
            let token = self.next("`]`")?;
            if token.kind == TokenKind::Close && !items.is_empty() {
                return Ok(Operand::List(items));
            }
            items.push(self.scalar(subject, &token)?);
            let token = self.next("`]`")?;
            match token.kind {
                TokenKind::Close => return Ok(Operand::List(items)),
                TokenKind::Comma => {}
                _ => return fail(token.range, "`,` or `]` is missing here", None),
            }
        }
    }

    fn scalar(&self, subject: &Subject, token: &Token) -> Result<Operand, ExpressionError> {
        let range = token.range.clone();
        if subject.is_time() {
            let time = match &token.kind {
                TokenKind::Word(word) => parse_time(word),
                _ => None,
            };
            let hint = "write a number and a unit, as in `800ms` or `2s`";
            return match time {
                Some(time) => Ok(Operand::Time(time)),
                None => fail(range, format!("`{subject}` is compared with a time"), Some(hint.into())),
            };
        }
        let operand = match &token.kind {
            TokenKind::Quoted(text) => Operand::Text(text.clone()),
            TokenKind::Word(word) => match word.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "null" => Operand::Null,
                _ => match word.parse::<f64>() {
                    Ok(number) if number.is_finite() => Operand::Number(number),
                    // A code or an address reads better bare: `rcode == NOERROR`.
                    _ if matches!(subject, Subject::Field(it) if matches!(it.kind, FieldKind::Text | FieldKind::Item)) => {
                        Operand::Text(word.clone())
                    }
                    _ => {
                        let hint = format!("put text in quotes: `'{word}'`");
                        return fail(range, format!("`{word}` is not a value"), Some(hint));
                    }
                },
            },
            _ => return fail(range, "a value is missing here", None),
        };
        if subject.is_number() && !matches!(operand, Operand::Number(_)) {
            return fail(range, format!("`{subject}` is compared with a number"), None);
        }
        Ok(operand)
    }
}

fn regex(text: &str, token: &Token) -> Result<Operand, ExpressionError> {
    let TokenKind::Quoted(pattern) = &token.kind else {
        return fail(token.range.clone(), "a pattern in quotes is missing here", None);
    };
    match RegexBuilder::new(pattern).size_limit(REGEX_MAX_BYTES).build() {
        Ok(regex) => Ok(Operand::Regex(Box::new(regex))),
        Err(error) => {
            // The last line of the library's picture is the reason; the lines before it draw the place.
            let text_of = error.to_string();
            let reason = text_of.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let end = token.range.end.min(text.len());
            fail(token.range.start..end, format!("bad regex: {reason}"), None)
        }
    }
}

/// Parses `800ms`, `2s`, `1.5s`, `1m`.
fn parse_time(word: &str) -> Option<Duration> {
    let letters = word.find(|it: char| it.is_ascii_alphabetic())?;
    let number: f64 = word[..letters].parse().ok()?;
    let unit_s = match &word[letters..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit_s).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> Values {
        Values {
            status: Some(502),
            phases: Phases {
                tls: Some(Duration::from_millis(150)),
                wait: Some(Duration::from_millis(900)),
                ..Phases::default()
            },
            cert_days: Some(12),
            headers: vec![("set-cookie".into(), "a=1".into()), ("set-cookie".into(), "sid=2".into()), ("x-served".into(), "a".into()), ("x-served".into(), "b".into())],
            text: r#"{"access_token":"abc","tokens":4,"status":"ok","db":{"lag":3.5,"ready":true,"hosts":["a","b"]},"none":null}"#.into(),
            ..Values::default()
        }
    }

    fn check(text: &str) -> Option<String> {
        let expression = Expression::parse(text, Subjects::Http).unwrap_or_else(|it| panic!("{text}: {it:?}"));
        expression.trouble(&values(), &|it, _| it.to_string()).map(|it| format!("{}|{}", it.brief, it.text))
    }

    #[test]
    fn what_holds_is_no_trouble() {
        for text in [
            "status in [200, 502]",
            "status >= 500",
            "status == 200 or status == 502",
            "tls < 200ms",
            "total < 1.5s",
            "cert.days > 7",
            "body contains 'ready'",
            "body =~ '\"status\":\\s*\"ok\"'",
            "header.Set-Cookie =~ '^sid='",
            "header.x-none != 'a'",
            "json.status == 'ok'",
            "json.db.lag < 4",
            "json.db.ready == true",
            "json.db.hosts.1 == 'b'",
            "json.db.hosts contains 'a'",
            "json.none == null",
            "json.status not in ['down', 'gone']",
        ] {
            assert_eq!(check(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_hold_says_what_was_found() {
        for (text, wanted) in [
            ("status == 200", "502|status is 502, expected status == 200"),
            ("total < 800ms", "slow 1.0s|total is 1.0s, expected total < 800ms"),
            ("cert.days > 21", "cert 12d|cert.days is 12, expected cert.days > 21"),
            ("json.status == 'up'", "body|json.status is \"ok\", expected json.status == 'up'"),
            ("json.gone == 1", "body|json.gone is missing, expected json.gone == 1"),
            ("header.x == 'a'", "header|header.x is missing, expected header.x == 'a'"),
            ("header.x-served !~ 'a'", "header|header.x-served is 'a', 'b', expected header.x-served !~ 'a'"),
            ("header.set-cookie !~ 'sid'", "header|header.set-cookie is '***', expected header.set-cookie !~ 'sid'"),
            ("json.access_token == 'x'", "body|json.access_token is '***', expected json.access_token == 'x'"),
            ("json.tokens == 3", "body|json.tokens is 4, expected json.tokens == 3"),
        ] {
            assert_eq!(check(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_mistake_has_its_place() {
        for (text, range, message) in [
            ("stauts == 200", 0..6, "unknown subject `stauts`"),
            ("total < 800", 8..11, "`total` is compared with a time"),
            ("status = 200", 7..8, "unexpected `=`"),
            ("body =~ '('", 8..11, "bad regex: unclosed group"),
            ("status == ok", 10..12, "`ok` is not a value"),
            ("status == 'a", 10..12, "`'` without its closing"),
            ("status == 200 201", 14..17, "unexpected text"),
            ("status contains '2'", 7..15, "`status` is a number"),
            ("status ==", 8..9, "a value is missing"),
            ("", 0..0, "a subject such as `status` is missing"),
        ] {
            let error = Expression::parse(text, Subjects::Http).expect_err(text);
            assert_eq!(error.range, range, "{text}");
            assert!(error.message.starts_with(message), "{text}: {}", error.message);
        }
    }

    #[test]
    fn a_kind_knows_only_its_own_subjects() {
        assert!(Expression::parse("status == 200", Subjects::Tcp).is_err());
        assert!(Expression::parse("perf.load < 4", Subjects::Command).is_ok());
        assert!(Expression::parse("crits == 0", Subjects::Command).is_ok());
    }

    #[test]
    fn a_secret_is_taken_out_before_what_was_found_is_cut() {
        let secret = "s3cret-s3cret-s3cret-s3cret";
        let values = Values { text: format!("{}{secret}", "x".repeat(ACTUAL_MAX - 8)), ..Values::default() };
        let expression = Expression::parse("body == 'ok'", Subjects::Http).expect("parses");
        let trouble = expression.trouble(&values, &|it, _| it.replace(secret, MASK)).expect("does not hold");
        assert!(trouble.text.contains("x***'") && !trouble.text.contains("s3c"), "{}", trouble.text);
    }

    #[test]
    fn hostile_values_are_harmless_in_the_text() {
        let hostile = Values { text: "\u{1b}]52;c;AAAA\u{7}x".into(), ..Values::default() };
        let expression = Expression::parse("body == 'ok'", Subjects::Http).expect("parses");
        let trouble = expression.trouble(&hostile, &|it, _| it.to_string()).expect("does not hold");
        assert!(!trouble.text.chars().any(char::is_control), "{:?}", trouble.text);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
            for subjects in [Subjects::Http, Subjects::Tcp, Subjects::Command] {
                if let Err(error) = Expression::parse(&text, subjects) {
                    prop_assert!(error.range.end <= text.len());
                    prop_assert!(error.range.start <= error.range.end);
                }
            }
        }

        #[test]
        fn no_mix_of_tokens_makes_parser_or_comparison_panic(
            tokens in proptest::collection::vec(
                proptest::sample::select(vec![
                    "status", "body", "json.a", "header.x", "total", "cert.days", "==", "!=", "<", "in", "not",
                    "contains", "=~", "[", "]", ",", "'a'", "\"(\"", "200", "5ms", "or", "null", "true", "-1e309", "日本",
                ]),
                0..8,
            )
        ) {
            let text = tokens.join(" ");
            if let Ok(expression) = Expression::parse(&text, Subjects::Http) {
                let _ = expression.trouble(&values(), &|it, _| it.to_string());
            }
        }
    }
}
