//! What searches and counts answer.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::log::GapKind;
use crate::service::log::store::elasticsearch::SEARCH_TIMEOUT;
use crate::service::log::store::elasticsearch::query::{Fields, NANOS_PER_MS};

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
#[derive(Deserialize, Default)]
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
}

/// When a hit's record was written, from its sort value.
pub(super) fn instant(hit: &Hit, fields: Fields) -> Option<i64> {
    let value = hit.sort.first()?.as_i64()?;
    if fields.has_nanos { Some(value) } else { value.checked_mul(NANOS_PER_MS) }
}

/// What an answer says of records that it does not hold.
pub(super) fn trouble(found: &Found) -> Option<GapKind> {
    let mut text = String::new();
    if found.shards.failed > 0 {
        let Shards { failed, total } = found.shards;
        let _ = write!(text, "{failed} of {total} shards did not answer: records are missing here");
    } else if found.timed_out {
        text = format!("the store gave up after {SEARCH_TIMEOUT}: records are missing here");
    }
    (!text.is_empty()).then_some(GapKind::Failed(text))
}

pub(super) fn too_many(most: usize) -> GapKind {
    GapKind::Failed(format!("more than {most} records of one instant: the others are not read"))
}
