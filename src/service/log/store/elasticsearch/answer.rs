//! What searches and counts answer.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::format;
use crate::domain::log::GapKind;
use crate::domain::sanitise;
use crate::logstore::store::StoreError;
use crate::service::log::store::elasticsearch::SEARCH_TIMEOUT;
use crate::service::log::store::elasticsearch::query::{Fields, NANOS_PER_MS};
use crate::service::log::store::http::Trouble;

/// Why a search was not answered.
pub(super) enum Refused {
    /// The point in time is gone.
    Gone,
    /// The answer is too large for this program.
    TooLarge,
    /// Times came in another unit than the one that was asked for.
    OtherUnit,
    Error(StoreError),
}

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::TooLarge => Self::TooLarge,
            other => Self::Error(other.into()),
        }
    }
}

/// A search's answer.
#[derive(Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) pit_id: Option<String>,
    #[serde(default)]
    pub(super) timed_out: bool,
    #[serde(rename = "_shards", default)]
    pub(super) shards: Shards,
    pub(super) hits: Hits,
}

/// How many parts of the index took part.
#[derive(Deserialize, Default, Clone, Copy)]
pub(super) struct Shards {
    #[serde(default)]
    pub(super) total: u64,
    #[serde(default)]
    pub(super) failed: u64,
}

/// What was found.
#[derive(Deserialize)]
pub(super) struct Hits {
    pub(super) hits: Vec<Hit>,
}

/// One document.
#[derive(Deserialize)]
pub(super) struct Hit {
    #[serde(rename = "_index", default)]
    pub(super) index: String,
    #[serde(rename = "_id", default)]
    pub(super) id: String,
    #[serde(rename = "_source", default)]
    pub(super) source: Value,
    pub(super) sort: Vec<Value>,
}

/// A count's answer.
#[derive(Deserialize)]
pub(super) struct Counted {
    pub(super) count: u64,
    #[serde(rename = "_shards", default)]
    pub(super) shards: Shards,
}

impl Hit {
    /// Its time is in nanoseconds: in milliseconds it would be after the year 2262.
    pub(super) fn is_in_nanos(&self) -> bool {
        let value = self.sort.first().and_then(Value::as_i64);
        value.is_some_and(|it| it.checked_mul(NANOS_PER_MS).is_none())
    }
}

/// When a hit's record was written, from its sort value.
pub(super) fn instant(hit: &Hit, fields: Fields) -> Option<i64> {
    let value = hit.sort.first()?.as_i64()?;
    if fields.has_nanos { Some(value) } else { value.checked_mul(NANOS_PER_MS) }
}

/// What an answer says of records that it does not hold.
pub(super) fn trouble(shards: Shards, timed_out: bool) -> Option<GapKind> {
    let mut text = String::new();
    let Shards { failed, total } = shards;
    if failed > 0 {
        let _ = write!(text, "{failed} of {total} shards did not answer: records are missing here");
    } else if timed_out {
        text = format!("the store gave up after {SEARCH_TIMEOUT}: records are missing here");
    }
    (!text.is_empty()).then_some(GapKind::Failed(text))
}

/// Says that records have no time that can be read.
pub(super) fn without_time(count: usize, field: &str) -> Option<GapKind> {
    let what = format::plural(count as u64, "record");
    let field = sanitise::text(field);
    (count > 0).then(|| GapKind::Failed(format!("{what} without a time in `{field}` left out here")))
}

pub(super) fn too_many(most: usize) -> GapKind {
    GapKind::Failed(format!("more than {most} records of one instant: the others are not read"))
}
