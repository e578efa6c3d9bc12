//! `hotseat logs --histogram`: how many records there are by time, one row a span of time.
//!
//! Errors, warnings and the rest of a bar have different glyphs, and the errors are counted beside it: a
//! spike stands out without colour.

use std::io::{self, Write};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::domain::format;
use crate::domain::log::{Bucket, Histogram, Level};

/// Narrowest bar: below it nothing can be told from it.
const MIN_BAR: usize = 10;

/// The glyphs of a bar.
#[derive(Debug, Clone, Copy)]
pub struct Glyphs {
    error: char,
    warn: char,
    other: char,
}

impl Glyphs {
    /// For a terminal that shows UTF-8, and for one that does not.
    pub fn new(utf8: bool) -> Self {
        if utf8 { Self { error: '█', warn: '▒', other: '─' } } else { Self { error: '#', warn: '=', other: '-' } }
    }
}

/// Writes the histogram as rows of at most `width` columns.
///
/// # Errors
/// Those of `out`.
pub fn write_text(
    out: &mut dyn Write,
    histogram: &Histogram,
    zone: &TimeZone,
    glyphs: Glyphs,
    width: usize,
) -> io::Result<()> {
    let most = histogram.buckets.iter().map(Bucket::total).max().unwrap_or(0);
    let errors = histogram.buckets.iter().map(Bucket::errors).max().unwrap_or(0);
    let label = label_format(histogram, zone);
    let labels: Vec<String> =
        times(histogram).map(|at| at.to_zoned(zone.clone()).strftime(label).to_string()).collect();
    let label_width = labels.first().map_or(0, String::len);
    let total_width = format::count(most).len();
    let error_width = if errors > 0 { format::count(errors).len() + " errors".len() + 2 } else { 0 };
    let bar_width = width.saturating_sub(label_width + total_width + error_width + 2).max(MIN_BAR);
    let Glyphs { error, warn, other } = glyphs;
    let span = format::age(Duration::from_secs(histogram.bucket_seconds));
    // Rows of one day say the time alone.
    let day = times(histogram).next().filter(|_| !label.starts_with("%Y"));
    let day = day.map_or_else(String::new, |it| it.to_zoned(zone.clone()).strftime(" of %Y-%m-%d").to_string());
    writeln!(out, "a row is {span}{day}; {error} error and above, {warn} warn, {other} other")?;
    for (bucket, label) in histogram.buckets.iter().zip(labels) {
        let bar = bar(bucket, most, bar_width, glyphs);
        let total = format::count(bucket.total());
        let mut row = format!("{label} {total:>total_width$} {bar}");
        if bucket.errors() > 0 {
            let padding = bar_width.saturating_sub(bar.chars().count());
            let noun = if bucket.errors() == 1 { "error" } else { "errors" };
            row.push_str(&format!("{:padding$}  {} {noun}", "", format::count(bucket.errors())));
        }
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

/// One character stands for the same number of records in every row; what is there has at least one.
fn bar(bucket: &Bucket, most: u64, width: usize, glyphs: Glyphs) -> String {
    let warnings = u64::from(bucket.by_level[Bucket::index(Some(Level::Warn))]);
    let scaled = |records: u64| {
        let cells = (u128::from(records) * width as u128).div_ceil(u128::from(most.max(1)));
        usize::try_from(cells).unwrap_or(width).min(width)
    };
    let total = scaled(bucket.total());
    let error = scaled(bucket.errors()).min(total);
    let warn = scaled(warnings).min(total - error);
    let parts = [(glyphs.error, error), (glyphs.warn, warn), (glyphs.other, total - error - warn)];
    parts.into_iter().flat_map(|(glyph, count)| std::iter::repeat_n(glyph, count)).collect()
}

fn times(histogram: &Histogram) -> impl Iterator<Item = Timestamp> {
    let seconds = i64::try_from(histogram.bucket_seconds).unwrap_or(i64::MAX);
    (0_i64..).zip(&histogram.buckets).map(move |(index, _)| {
        histogram
            .from
            .saturating_add(SignedDuration::from_secs(seconds.saturating_mul(index)))
            .unwrap_or(Timestamp::MAX)
    })
}

/// The date is said when the rows are of different days, seconds when a row is shorter than a minute.
fn label_format(histogram: &Histogram, zone: &TimeZone) -> &'static str {
    let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
    let first = times(histogram).next().map(day);
    let same_day = times(histogram).last().map(day) == first;
    match (same_day, histogram.bucket_seconds) {
        (_, 86_400..) => "%Y-%m-%d",
        (true, 60..) => "%H:%M",
        (true, _) => "%H:%M:%S",
        (false, 60..) => "%Y-%m-%d %H:%M",
        (false, _) => "%Y-%m-%d %H:%M:%S",
    }
}

/// A span of time for a script.
#[derive(Serialize)]
struct JsonBucket {
    from: Timestamp,
    total: u64,
    without_level: u32,
    trace: u32,
    debug: u32,
    info: u32,
    warn: u32,
    error: u32,
    fatal: u32,
}

/// A histogram for a script.
#[derive(Serialize)]
struct JsonHistogram {
    bucket_seconds: u64,
    complete: bool,
    buckets: Vec<JsonBucket>,
}

/// Writes the histogram as one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn write_json(out: &mut dyn Write, histogram: &Histogram) -> io::Result<()> {
    let bucket = |(from, bucket): (Timestamp, &Bucket)| {
        let [without_level, trace, debug, info, warn, error, fatal] = bucket.by_level;
        JsonBucket { from, total: bucket.total(), without_level, trace, debug, info, warn, error, fatal }
    };
    let buckets = times(histogram).zip(&histogram.buckets).map(bucket).collect();
    let value = JsonHistogram { bucket_seconds: histogram.bucket_seconds, complete: histogram.complete, buckets };
    serde_json::to_writer(&mut *out, &value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[[u32; 7]], bucket_seconds: u64) -> Histogram {
        Histogram {
            from: "2026-08-19T14:00:00Z".parse().unwrap(),
            bucket_seconds,
            buckets: buckets.iter().map(|it| Bucket { by_level: *it }).collect(),
            scanned_bytes: 0,
            total_bytes: 0,
            complete: true,
        }
    }

    fn text(histogram: &Histogram, utf8: bool, width: usize) -> String {
        let mut out = Vec::new();
        write_text(&mut out, histogram, &TimeZone::UTC, Glyphs::new(utf8), width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_spike_of_errors_stands_out_without_colour() {
        let calm = [0, 0, 10, 980, 9, 1, 0];
        let spike = [0, 0, 0, 1000, 0, 950, 50];
        let found = text(&histogram(&[calm, spike, [0; 7], [1, 0, 0, 0, 0, 0, 0]], 300), false, 64);
        assert_eq!(found.lines().next(), Some("a row is 5m of 2026-08-19; # error and above, = warn, - other"));
        let bars: Vec<&str> = found.lines().skip(1).collect();
        assert!(bars[0].contains(" #=---") && bars[0].ends_with("  1 error"), "{found}");
        assert!(bars[1].contains("##########") && bars[1].ends_with(" 1,000 errors"), "{found}");
        assert_eq!((bars[2], bars[3]), ("14:10     0", "14:15     1 -"));
        assert!(found.lines().all(|it| it.chars().count() <= 64), "{found}");
    }

    #[test]
    fn rows_of_several_days_say_the_day() {
        let found = text(&histogram(&[[1, 0, 0, 0, 0, 0, 0]; 3], 36_000), true, 80);
        assert!(found.lines().nth(3).unwrap().starts_with("2026-08-20 10:00 1 ─"), "{found}");
    }

    #[test]
    fn a_script_gets_every_level() {
        let mut out = Vec::new();
        write_json(&mut out, &histogram(&[[1, 2, 3, 4, 5, 6, 7]], 60)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["buckets"][0]["from"], "2026-08-19T14:00:00Z");
        assert_eq!((&value["buckets"][0]["total"], &value["buckets"][0]["fatal"]), (&28.into(), &7.into()));
    }
}
