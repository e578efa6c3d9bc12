//! What queries of Loki answer.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, SeqAccess, Visitor};

use crate::domain::log::Level;
use crate::logstore::store::{Aside, Entry, StoreError, tie_of};
use crate::logstore::walk::Direction;
use crate::service::log::store::http::HttpClient;
use crate::service::log::store::loki::{LEVEL_LABELS, Refused};
use crate::service::log::store::pushdown::level_of;

/// What a query_range answers.
#[derive(Deserialize)]
pub(super) struct Response<T> {
    pub(super) data: Data<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data<T> {
    pub(super) result_type: String,
    #[serde(default = "Vec::new")]
    pub(super) result: Vec<T>,
}

#[derive(Deserialize)]
pub(super) struct Stream {
    pub(super) stream: BTreeMap<String, String>,
    pub(super) values: Vec<Line>,
}

/// One sample of a vector: what it is for, time and value.
#[derive(Deserialize)]
pub(super) struct Sample {
    #[serde(default)]
    pub(super) metric: BTreeMap<String, String>,
    pub(super) value: (serde_json::Value, String),
}

/// The samples of a matrix for one set of labels.
#[derive(Deserialize)]
pub(super) struct Series {
    #[serde(default)]
    pub(super) metric: BTreeMap<String, String>,
    pub(super) values: Vec<(f64, String)>,
}

/// `["1570818238000000000", "line"]`, in newer versions with an object of structured metadata behind it.
pub(super) struct Line {
    pub(super) nanos: i64,
    pub(super) text: String,
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Line;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in nanoseconds and a line")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Line, A::Error> {
                let missing = || de::Error::custom("a line without its time or its text");
                let nanos: String = parts.next_element()?.ok_or_else(missing)?;
                let text: String = parts.next_element()?.ok_or_else(missing)?;
                while parts.next_element::<de::IgnoredAny>()?.is_some() {}
                let nanos = nanos.parse().map_err(|_| de::Error::custom("a time that is no number"))?;
                Ok(Line { nanos, text })
            }
        }
        deserializer.deserialize_seq(Parts)
    }
}

pub(super) fn parse<T: for<'de> Deserialize<'de>>(client: &HttpClient, body: &[u8]) -> Result<Data<T>, Refused> {
    serde_json::from_slice::<Response<T>>(body)
        .map(|it| it.data)
        .map_err(|error| Refused::Error(StoreError::Failed(client.misread("Loki", &error))))
}

/// The lines of all streams, oldest first; those of one instant stream by stream, in the order they came in.
pub(super) fn entries(streams: Vec<Stream>, direction: Direction) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut streams = streams;
    streams.sort_by(|left, right| left.stream.cmp(&right.stream));
    for Stream { stream, mut values } in streams {
        if direction == Direction::Backward {
            values.reverse();
        }
        let labels: String = stream.iter().map(|(name, value)| format!("{name}\u{0}{value}\u{0}")).collect();
        let level = level_in(&stream);
        let fields: Arc<[(String, String)]> = stream.into_iter().collect();
        entries.extend(values.into_iter().map(|line| Entry {
            nanos: line.nanos,
            tie: tie_of(&[labels.as_bytes(), line.text.as_bytes()]),
            line: line.text.trim_end_matches(['\r', '\n']).as_bytes().to_vec(),
            aside: Aside { level, text: None, fields: Some(fields.clone()) },
        }));
    }
    // Stable: what is equal stays in order.
    entries.sort_by_key(|it| it.nanos);
    number_equals(&mut entries);
    entries
}

/// Lines that are equal in everything, their instant too, are told apart by their number.
pub(super) fn number_equals(entries: &mut [Entry]) {
    for group in entries.chunk_by_mut(|left, right| left.nanos == right.nanos).filter(|it| it.len() > 1) {
        let mut seen: HashMap<u64, u64> = HashMap::new();
        for entry in group {
            let count = seen.entry(entry.tie).or_insert(0);
            *count += 1;
            if *count > 1 {
                entry.tie = tie_of(&[&entry.tie.to_le_bytes(), &count.to_le_bytes()]);
            }
        }
    }
}

pub(super) fn level_in(labels: &BTreeMap<String, String>) -> Option<Level> {
    LEVEL_LABELS.iter().find_map(|it| level_of(labels.get(*it)?))
}

/// A count that came as a decimal fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn whole(value: f64) -> u64 {
    if value.is_finite() && value > 0.0 { value.round() as u64 } else { 0 }
}
