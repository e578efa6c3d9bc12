//! The only place that reads time.
//!
//! Everything else is told what time it is: `Board::apply`, `Model::update` and every view take `now`.
//! Tests and screenshots fix the wall clock with `HOTSEAT_FIXED_TIME` (RFC 3339); waiting is done with
//! tokio timers and is not affected by it.

use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Returns the wall-clock time, or the instant in `HOTSEAT_FIXED_TIME` when that is set and valid.
pub fn now() -> Timestamp {
    static FIXED: OnceLock<Option<Timestamp>> = OnceLock::new();
    let fixed = FIXED.get_or_init(|| std::env::var("HOTSEAT_FIXED_TIME").ok().and_then(|text| text.parse().ok()));
    fixed.unwrap_or_else(Timestamp::now)
}

/// Returns a reading of the monotonic clock: for durations and deadlines, never for what people read.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Returns a reading of the clock that tokio's timers run by, which tests can pause.
pub fn timer() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Returns the zone in which times are shown: `TZ` or the host's own.
pub fn zone() -> TimeZone {
    TimeZone::system()
}
