//! Logs that live in a store elsewhere: asked for windows and for news, never copied.

pub mod elasticsearch;
pub mod http;
pub mod loki;
pub mod poll;
pub mod pushdown;
pub mod settings;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::ids::SourceId;
use crate::logstore::format::Reading;
use crate::logstore::source::Source;
use crate::logstore::store::Store;
use crate::service::log::store::settings::Common;

/// A store in a spec, before it is opened.
#[derive(Debug, Clone, PartialEq)]
pub enum Remote {
    /// Grafana Loki.
    Loki(loki::Settings),
    /// Elasticsearch or OpenSearch.
    Elasticsearch(elasticsearch::Settings),
}

impl Remote {
    /// What all stores are told.
    pub fn common(&self) -> &Common {
        match self {
            Self::Loki(settings) => &settings.common,
            Self::Elasticsearch(settings) => &settings.common,
        }
    }

    /// The same, to be completed.
    pub fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Loki(settings) => &mut settings.common,
            Self::Elasticsearch(settings) => &mut settings.common,
        }
    }

    /// Where it reads from, in words, without secrets.
    pub fn origin(&self) -> String {
        let words = match self {
            Self::Loki(settings) => {
                format!("loki {} {}", settings.common.access.shown(), crate::domain::sanitise::text(&settings.query))
            }
            Self::Elasticsearch(settings) => format!(
                "elasticsearch {} {}",
                settings.common.access.shown(),
                crate::domain::sanitise::text(&settings.index)
            ),
        };
        self.common().access.veil.text(&words)
    }

    /// Makes the store and its source; nothing is asked yet.
    pub fn open(
        &self,
        (id, name): (SourceId, &str),
        zone: TimeZone,
        reading: Arc<Reading>,
    ) -> (Arc<Source>, Arc<dyn Store>) {
        let store: Arc<dyn Store> = match self {
            Self::Loki(settings) => Arc::new(loki::Loki::new(settings.clone())),
            Self::Elasticsearch(settings) => Arc::new(elasticsearch::Elasticsearch::new(settings.clone())),
        };
        let source = Source::of_store((id, name, &self.origin()), store.clone(), zone, reading);
        (Arc::new(source), store)
    }
}

/// Records may carry a time so far ahead of this host's clock.
const AHEAD_NANOS: i64 = 3600 * NANOS_PER_SECOND;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Nanoseconds since the Unix epoch.
fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

/// Nanosecond before which a store is not read, and the one behind the newest record that it may have.
fn horizon(since: std::time::Duration) -> (i64, i64) {
    let now = nanos(clock::now());
    let since = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    (now.saturating_sub(since).max(0), now.saturating_add(AHEAD_NANOS))
}
