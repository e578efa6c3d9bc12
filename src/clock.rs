//! The only place that reads time.
//!
//! Everything else is told what time it is: `Board::apply`, `Model::update` and every view take `now`.
//! Tests and screenshots fix the wall clock with `HOTSEAT_FIXED_TIME` (RFC 3339); waiting is done with
//! tokio timers and is not affected by it.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

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

/// Returns how long ago the machine was started, counting the time that it slept; `None` where that is not told.
///
/// The monotonic clock stands still while the machine sleeps: what this one is ahead of it was slept.
pub fn since_boot() -> Option<Duration> {
    // Hundredths of a second; the first number counts from the start, the second is the processors' idle time.
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Returns a reading of the clock that nobody can set, which goes on while the machine sleeps: which start of the machine,
/// and milliseconds since then (`CLOCK_BOOTTIME`). `None` where there is none, or where the wall clock is fixed and the
/// two would tell of different worlds.
pub fn boot_time() -> Option<(String, u64)> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let boot = BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let is_fixed = std::env::var_os("HOTSEAT_FIXED_TIME").is_some();
        Some(id.trim().to_string()).filter(|it| !it.is_empty() && !is_fixed)
    });
    Some((boot.clone()?, boot_ms()?))
}

#[cfg(target_os = "linux")]
fn boot_ms() -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(u64::try_from(now.tv_sec).ok()? * 1_000 + u64::try_from(now.tv_nsec).ok()? / 1_000_000)
}

#[cfg(not(target_os = "linux"))]
fn boot_ms() -> Option<u64> {
    None
}

/// Returns the monotonic clock in microseconds, as the service manager reads it (`CLOCK_MONOTONIC`).
pub fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) =
        (u64::try_from(now.tv_sec).unwrap_or_default(), u64::try_from(now.tv_nsec).unwrap_or_default());
    seconds * 1_000_000 + nanos / 1_000
}

/// Returns a reading of the clock that tokio's timers run by, which tests can pause.
pub fn timer() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Returns the zone in which times are shown: `TZ` or the host's own, as it was when it was first asked for.
pub fn zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| zone_of_link(Path::new("/etc/localtime")).unwrap_or_else(TimeZone::system)).clone()
}

/// Reads the zone that a link into the zone database names; `None` when `TZ` names another or there is no such link.
///
/// `TimeZone::system` finds the same zone, but opens every file of the database first (900 of them on a
/// Debian host), and that is time before the first frame.
fn zone_of_link(link: &Path) -> Option<TimeZone> {
    if std::env::var_os("TZ").is_some() {
        return None;
    }
    let file = std::fs::read_link(link).ok()?;
    let (_, name) = file.to_str()?.rsplit_once("zoneinfo/")?;
    TimeZone::tzif(name, &std::fs::read(link).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_names_no_zone_leaves_the_choice_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("localtime");
        assert_eq!(zone_of_link(&link), None);
        let file = folder.path().join("zoneinfo");
        std::fs::write(&file, "no zone").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(zone_of_link(&link), None);
    }
}
