//! The past of one probe, summed up for drawing: points of a graph, days, percentiles.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::domain::ids::ProbeId;

/// Points that a screen can ask for at once: two for each column of a very wide terminal.
pub const POINTS_MAX: usize = 1024;
/// A shorter time without a run was a restart, or a run that came late.
pub const UNWATCHED_MIN: Duration = Duration::from_secs(60);

/// Asks for a probe's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// Comes back with the answer; the screen ignores answers to older questions.
    pub generation: u64,
    /// Which.
    pub probe: ProbeId,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Into how many points, at most [`POINTS_MAX`].
    pub points: usize,
    /// The zone in which days begin, an IANA name.
    pub zone: String,
    /// What counts as the present: of days after it nothing is said. `None`: the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// A probe's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Of the request.
    pub generation: u64,
    /// Which.
    pub probe: ProbeId,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Oldest first, equally long, also where nothing is known.
    pub points: Vec<Point>,
    /// All of the range together.
    pub whole: Point,
    /// Availability by day, oldest first, at most 90 days back, whatever the range.
    pub days: Vec<Day>,
    /// What is known begins here; `None` when nothing is.
    pub known_since: Option<Timestamp>,
    /// How exact: `raw`, `minutes`, `hours`.
    pub grain: String,
    /// How much of the range nothing looked, from when on it is known; zero when that was less than [`UNWATCHED_MIN`].
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub unwatched: Duration,
}

/// A part of the range.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Results that were fine.
    pub ok: u32,
    /// Results that were degraded.
    pub degraded: u32,
    /// Results that failed.
    pub fail: u32,
    /// Results that say nothing.
    pub unknown: u32,
    /// Total time of a run: least.
    pub least: Option<Duration>,
    /// Half of the runs were faster.
    pub p50: Option<Duration>,
    /// 95 of 100 were faster.
    pub p95: Option<Duration>,
    /// 99 of 100 were faster.
    pub p99: Option<Duration>,
    /// Total time of a run: most.
    pub most: Option<Duration>,
    /// All of it lies in a time in which nothing looked, at least [`UNWATCHED_MIN`] long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unwatched: bool,
}

/// One day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Day {
    /// Which, in the zone asked for.
    pub date: Date,
    /// Share of the known time in which the probe did not fail, 0 to 1; `None` when nothing is known.
    pub up: Option<f64>,
    /// How long it was down.
    pub down: Duration,
    /// For how long it is known how it was. Zero of an older hotseat.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub known: Duration,
    /// How long nothing looked, as [`History::unwatched`].
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub unwatched: Duration,
}
