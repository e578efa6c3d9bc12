//! Draws a histogram: bars by time, error spikes, and where the rows on the screen stand in it.
//!
//! Nothing depends on colour: a spike has its own mark, the place of the rows is a thick piece of the axis,
//! the cursor is reversed; errors and warnings are the lower parts of a bar. Pure arithmetic over buckets and cells.

use std::ops::Range;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use crate::domain::format;
use crate::domain::log::{Bucket, Histogram, Level, MAX_BUCKETS};
use crate::theme::Theme;
use crate::theme::role::Role;

const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '#'];
/// Stands where errors are above their usual share.
const SPIKE: char = '!';

/// Cells on each side for a label: `10-31 22:10` and a blank.
const WIDE_GUTTER: u16 = 12;
/// The same where every column counts: `22:10` and a blank.
const NARROW_GUTTER: u16 = 6;
/// Columns below which the gutters are narrow.
const NARROW: u16 = 72;
/// Cells of one bucket, at most: wider bars say nothing more.
const BUCKET_CELLS_MAX: u16 = 6;
/// Errors in a bucket below which nothing is called a spike: one or two happen everywhere.
const SPIKE_MIN: u64 = 3;

/// Where the buckets stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Column of the first one that is shown.
    pub left: u16,
    /// Cells of each.
    pub cells: u16,
    /// Index of the first one that is shown.
    pub first: usize,
    /// Index after the last one.
    pub end: usize,
}

impl Grid {
    /// Arranges so many buckets in so many columns; of more than fit the newest are shown.
    pub fn new(width: u16, buckets: usize) -> Self {
        let room = columns(width);
        let cells = (usize::from(room) / buckets.max(1)).clamp(1, usize::from(BUCKET_CELLS_MAX)) as u16;
        let shown = buckets.min(usize::from(room / cells));
        Self { left: gutter(width), cells, first: buckets - shown, end: buckets }
    }

    /// The bucket at a column.
    pub fn bucket_at(&self, column: u16) -> Option<usize> {
        let at = self.first + usize::from(column.checked_sub(self.left)? / self.cells);
        (at < self.end).then_some(at)
    }

    /// The columns of a bucket.
    pub fn columns_of(&self, bucket: usize) -> Range<u16> {
        let start = self.left + bucket.saturating_sub(self.first) as u16 * self.cells;
        start..start + self.cells
    }

    fn right(&self) -> u16 {
        self.columns_of(self.end).start
    }
}

/// Columns for buckets on a row of this width: as many buckets are asked for.
pub fn columns(width: u16) -> u16 {
    width.saturating_sub(2 * gutter(width)).clamp(1, MAX_BUCKETS)
}

fn gutter(width: u16) -> u16 {
    if width < NARROW { NARROW_GUTTER.min(width / 4) } else { WIDE_GUTTER }
}

/// The time at which a bucket begins; behind the last one it is the end.
pub fn start_of(histogram: &Histogram, bucket: usize) -> Timestamp {
    let seconds = histogram.bucket_seconds.saturating_mul(bucket as u64);
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    histogram.from.checked_add(seconds).unwrap_or(Timestamp::MAX)
}

/// The length of a bucket.
pub fn length(histogram: &Histogram) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(histogram.bucket_seconds).unwrap_or(i64::MAX))
}

/// The bucket of a time, the nearest one when it lies outside; `None` without buckets.
pub fn bucket_of(histogram: &Histogram, at: Timestamp) -> Option<usize> {
    let last = histogram.buckets.len().checked_sub(1)?;
    let seconds = at.as_second().saturating_sub(histogram.from.as_second());
    let bucket = u64::try_from(seconds).unwrap_or_default() / histogram.bucket_seconds.max(1);
    Some(usize::try_from(bucket).map_or(last, |it| it.min(last)))
}

/// Which buckets have errors above the usual share, or far more of them than the others.
///
/// What is usual is told by the calmest three quarters of the buckets, so that an outage does not make itself
/// usual. A spike has twice the errors that are usual for its number of records, and more than chance explains; or
/// three times the errors that three quarters of the buckets stay below: a day is busier than its night by less.
pub fn spikes(buckets: &[Bucket]) -> Vec<bool> {
    let mut busy: Vec<(u64, u64)> =
        buckets.iter().map(|it| (it.errors(), it.total())).filter(|(_, total)| *total > 0).collect();
    busy.sort_by_key(|(errors, total)| u128::from(*errors) * u128::from(u64::MAX) / u128::from(*total));
    let calm = &busy[..(busy.len() * 3).div_ceil(4)];
    let (errors, total) = calm.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let share = if total == 0 { 0.0 } else { errors as f64 / total as f64 };
    let mut counts: Vec<u64> = busy.iter().map(|it| it.0).collect();
    counts.sort_unstable();
    let most = counts.get(counts.len() * 3 / 4).copied().unwrap_or_default() as f64;
    let is_spike = |it: &Bucket| {
        let errors = it.errors() as f64;
        let exceeds = |usual: f64, times: f64| errors > times * usual && errors > usual + 3.0 * usual.sqrt();
        it.errors() >= SPIKE_MIN && (exceeds(share * it.total() as f64, 2.0) || (most > 0.0 && exceeds(most, 3.0)))
    };
    buckets.iter().map(is_spike).collect()
}

/// What a full bar stands for: the greatest bucket, or more where all are alike, so that a steady log does not
/// look like a wall and what rises above it is seen.
fn top(buckets: &[Bucket]) -> u64 {
    let mut totals: Vec<u64> = buckets.iter().map(Bucket::total).filter(|it| *it > 0).collect();
    totals.sort_unstable();
    let median = totals.get(totals.len() / 2).copied().unwrap_or_default();
    totals.last().copied().unwrap_or_default().max(median.saturating_add(median / 3)).max(1)
}

/// The beginnings of runs of spikes, oldest first.
pub fn spike_starts(spikes: &[bool]) -> impl DoubleEndedIterator<Item = usize> + '_ {
    (0..spikes.len()).filter(|at| spikes[*at] && (*at == 0 || !spikes[*at - 1]))
}

/// What stands out in a histogram besides its bars.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Marks {
    /// The times of the rows on the screen.
    pub window: Option<(Timestamp, Timestamp)>,
    /// The bucket of the cursor.
    pub cursor: Option<usize>,
    /// The buckets that are being chosen.
    pub chosen: Option<Range<usize>>,
}

/// Draws a histogram into one row (bars) or more (bars, and an axis below them).
pub fn draw(
    histogram: &Histogram,
    marks: &Marks,
    (now, zone): (Timestamp, &TimeZone),
    theme: &Theme,
    area: Rect,
    buf: &mut Buffer,
) {
    if area.is_empty() {
        return;
    }
    let grid = Grid::new(area.width, histogram.buckets.len());
    let axis = (area.height > 1).then(|| Rect { y: area.bottom() - 1, height: 1, ..area });
    let bars = Rect { height: area.height - u16::from(axis.is_some()), ..area };
    let spikes = spikes(&histogram.buckets);
    let window = marks.window.and_then(|(first, last)| {
        Some(bucket_of(histogram, first)?..bucket_of(histogram, last)?.max(bucket_of(histogram, first)?) + 1)
    });
    let painter = Painter { histogram, marks, grid, spikes: &spikes, window, theme };
    painter.bars(bars, axis.is_some(), buf);
    if let Some(axis) = axis {
        painter.axis(axis, buf);
    }
    let dim = theme.style(Role::TextDim);
    let (from, until) = labels(histogram, grid, now, zone, area.width);
    let room = usize::from(grid.left.saturating_sub(1));
    let bottom = area.bottom() - 1;
    buf.set_stringn(area.x, bottom, format!("{from:>room$}"), room, dim);
    let right = area.x + (grid.right() + 1).min(area.width);
    let room = usize::from(area.right() - right);
    let progress = progress(histogram, theme);
    let scale = step_words(histogram.bucket_seconds);
    if axis.is_some() {
        buf.set_stringn(right, bottom, until, room, dim);
        let peak = histogram.buckets.iter().map(Bucket::total).max().unwrap_or_default();
        let (left, peak) = (usize::from(grid.left.saturating_sub(1)), format::count_short(peak));
        let peak = if left < usize::from(NARROW_GUTTER) { peak } else { format!("peak {peak}") };
        buf.set_stringn(area.x, area.y, format!("{peak:>left$}"), left, dim);
        buf.set_stringn(right, area.y, progress.unwrap_or(scale), room, dim);
    } else {
        buf.set_stringn(right, bottom, progress.unwrap_or(until), room, dim);
    }
}

/// `54%…` while not everything was looked at.
pub fn progress(histogram: &Histogram, theme: &Theme) -> Option<String> {
    if histogram.complete {
        return None;
    }
    let dots = if theme.ascii { "..." } else { "…" };
    // A hundred is said only by the end of the scan.
    let percent = u128::from(histogram.scanned_bytes) * 100 / u128::from(histogram.total_bytes.max(1));
    Some(format!("{}%{dots}", percent.min(99)))
}

struct Painter<'a> {
    histogram: &'a Histogram,
    marks: &'a Marks,
    grid: Grid,
    spikes: &'a [bool],
    window: Option<Range<usize>>,
    theme: &'a Theme,
}

impl Painter<'_> {
    fn bars(&self, area: Rect, has_axis: bool, buf: &mut Buffer) {
        let top = top(&self.histogram.buckets);
        let eighths = u64::from(area.height) * 8;
        let steps = if self.theme.ascii { ASCII } else { UNICODE };
        for bucket in self.grid.first..self.grid.end {
            let it = &self.histogram.buckets[bucket];
            // The least bar is one step: a record must not vanish beside a million.
            let scaled = |count: u64| (u128::from(count) * u128::from(eighths)).div_ceil(u128::from(top)) as u64;
            let warnings = u64::from(it.by_level[Bucket::index(Some(Level::Warn))]);
            let (full, errors, bad) = (scaled(it.total()), scaled(it.errors()), scaled(it.errors() + warnings));
            let spike = self.spikes[bucket];
            for level in 0..area.height {
                let below = u64::from(level) * 8;
                let filled = full.saturating_sub(below).min(8) as usize;
                let mut glyph = if filled == 0 { ' ' } else { steps[filled - 1] };
                if spike && !has_axis {
                    glyph = SPIKE;
                }
                // Worst at the bottom; a cell has the colour of what its middle is made of.
                let middle = (below + 4).min(full);
                let role = match () {
                    () if spike && (errors > below || area.height == 1) => Role::HistogramError,
                    () if filled > 0 && errors >= middle => Role::HistogramError,
                    () if filled > 0 && bad >= middle => Role::LogWarn,
                    () => Role::Histogram,
                };
                let row = Rect { y: area.bottom() - 1 - level, height: 1, ..area };
                self.cell(bucket, (glyph, role), has_axis, row, buf);
            }
        }
    }

    fn cell(&self, bucket: usize, (glyph, role): (char, Role), has_axis: bool, row: Rect, buf: &mut Buffer) {
        let mut style = self.theme.style(role);
        let is_chosen = self.marks.chosen.as_ref().is_some_and(|it| it.contains(&bucket));
        if is_chosen || self.marks.cursor == Some(bucket) {
            style = self.theme.style(Role::Selection);
        } else if !has_axis && self.window.as_ref().is_some_and(|it| it.contains(&bucket)) {
            style = style.add_modifier(Modifier::UNDERLINED);
        }
        for x in self.grid.columns_of(bucket) {
            if let Some(cell) = buf.cell_mut((row.x + x, row.y)).filter(|_| x < row.width) {
                cell.set_char(glyph).set_style(style);
            }
        }
    }

    fn axis(&self, area: Rect, buf: &mut Buffer) {
        let (thin, thick, hand) = if self.theme.ascii { ('-', '=', '^') } else { ('─', '━', '▲') };
        for bucket in self.grid.first..self.grid.end {
            let is_window = self.window.as_ref().is_some_and(|it| it.contains(&bucket));
            let (line, role) = if is_window { (thick, Role::TextStrong) } else { (thin, Role::Border) };
            let columns = self.grid.columns_of(bucket);
            let middle = columns.start + self.grid.cells / 2;
            for x in columns.filter(|it| *it < area.width) {
                let (glyph, role) = match (x == middle, self.marks.cursor == Some(bucket), self.spikes[bucket]) {
                    (true, true, _) => (hand, Role::Key),
                    (true, false, true) => (SPIKE, Role::HistogramError),
                    _ => (line, role),
                };
                let mut style = self.theme.style(role);
                if is_window && glyph == SPIKE {
                    style = style.add_modifier(Modifier::REVERSED);
                }
                if let Some(cell) = buf.cell_mut((area.x + x, area.y)) {
                    cell.set_char(glyph).set_style(style);
                }
            }
        }
    }
}

/// The times at both ends, as exact as the room allows.
fn labels(histogram: &Histogram, grid: Grid, now: Timestamp, zone: &TimeZone, width: u16) -> (String, String) {
    let (from, until) = (start_of(histogram, grid.first), start_of(histogram, grid.end));
    let civil = |at: Timestamp| at.to_zoned(zone.clone());
    // The end itself belongs to the next day when it is midnight.
    let last = until.checked_sub(SignedDuration::from_secs(1)).unwrap_or(until);
    let today = civil(now).date();
    let is_today = civil(from).date() == today && civil(last).date() == today;
    let years = civil(from).year() != civil(last).year();
    let is_day = histogram.bucket_seconds >= 12 * 3600;
    let form = match (width < NARROW, is_today, histogram.bucket_seconds < 60) {
        (false, true, true) => "%H:%M:%S",
        (_, true, _) => "%H:%M",
        (true, false, _) if civil(from).date() == civil(last).date() => "%H:%M",
        (true, false, _) => "%m-%d",
        (false, false, _) if years || is_day => "%Y-%m-%d",
        (false, false, _) => "%m-%d %H:%M",
    };
    (civil(from).strftime(form).to_string(), civil(until).strftime(form).to_string())
}

/// The length of a bucket in words: `10 s`, `5 min`, `6 h`, `1 d`.
fn step_words(seconds: u64) -> String {
    match seconds {
        it if it.is_multiple_of(86_400) => format!("{} d", it / 86_400),
        it if it.is_multiple_of(3_600) => format!("{} h", it / 3_600),
        it if it.is_multiple_of(60) => format!("{} min", it / 60),
        it => format!("{it} s"),
    }
}

/// What some buckets hold: `14:43:00–14:43:10 1,204 records, 37 errors, 12 warnings`.
pub fn words(
    histogram: &Histogram,
    chosen: &Range<usize>,
    (now, zone): (Timestamp, &TimeZone),
    theme: &Theme,
) -> String {
    let (from, until) = (start_of(histogram, chosen.start), start_of(histogram, chosen.end));
    let buckets = histogram.buckets.get(chosen.clone()).unwrap_or_default();
    let total: u64 = buckets.iter().map(Bucket::total).sum();
    let errors: u64 = buckets.iter().map(Bucket::errors).sum();
    let warnings: u64 = buckets.iter().map(|it| u64::from(it.by_level[Bucket::index(Some(Level::Warn))])).sum();
    let dash = if theme.ascii { "-" } else { "–" };
    let mut text = format!("{} {}", span(from, until, dash, now, zone), format::plural(total, "record"));
    if errors > 0 {
        text.push_str(&format!(", {}", format::plural(errors, "error")));
    }
    if warnings > 0 {
        text.push_str(&format!(", {}", format::plural(warnings, "warning")));
    }
    text
}

/// Two times with the day said once, and not at all when it is today.
fn span(from: Timestamp, until: Timestamp, dash: &str, now: Timestamp, zone: &TimeZone) -> String {
    let civil = |at: Timestamp| at.to_zoned(zone.clone());
    let (start, end) = (civil(from), civil(until));
    let day = match (start.date() == civil(now).date(), start.year() == civil(now).year()) {
        (true, _) => "%H:%M:%S",
        (false, true) => "%m-%d %H:%M:%S",
        (false, false) => "%Y-%m-%d %H:%M:%S",
    };
    let form = if start.date() == end.date() { "%H:%M:%S" } else { "%m-%d %H:%M:%S" };
    format!("{}{dash}{}", start.strftime(day), end.strftime(form))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::load::load;

    fn bucket(total: u32, errors: u32) -> Bucket {
        let mut bucket = Bucket::default();
        bucket.by_level[Bucket::index(Some(Level::Info))] = total - errors;
        bucket.by_level[Bucket::index(Some(Level::Error))] = errors;
        bucket
    }

    fn histogram(buckets: &[(u32, u32)]) -> Histogram {
        Histogram {
            from: "2024-08-19T14:43:00Z".parse().unwrap(),
            bucket_seconds: 10,
            buckets: buckets.iter().map(|(total, errors)| bucket(*total, *errors)).collect(),
            scanned_bytes: 1,
            total_bytes: 1,
            complete: true,
        }
    }

    fn drawn(histogram: &Histogram, marks: &Marks, theme: &Theme, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, 40, height);
        let mut buf = Buffer::empty(area);
        let now = "2024-08-19T20:00:00Z".parse().unwrap();
        draw(histogram, marks, (now, &TimeZone::UTC), theme, area, &mut buf);
        let row = |y: u16| (0..area.width).map(|x| buf[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_string()).collect()
    }

    fn check_spikes(buckets: &[(u32, u32)], expected: &str) {
        let found: String = spikes(&histogram(buckets).buckets).iter().map(|it| if *it { '!' } else { '.' }).collect();
        assert_eq!(found, expected, "{buckets:?}");
    }

    #[test]
    fn errors_above_their_usual_share_are_a_spike() {
        check_spikes(&[(100, 1), (100, 0), (100, 40), (100, 2)], "..!.");
        check_spikes(&[(100, 0), (100, 2), (100, 0), (100, 0)], "....");
        check_spikes(&[(1000, 100), (1000, 110), (3000, 320), (1000, 95)], "....");
        check_spikes(&[(10, 10), (10, 10), (10, 10)], "...");
        // Ten times the records with their usual share of errors: they come from ten times the users.
        check_spikes(&[(100, 10), (100, 11), (100, 9), (1000, 100), (100, 10), (100, 12)], "...!..");
        check_spikes(&[(100, 10), (100, 11), (250, 25), (280, 29), (260, 24), (100, 12)], "......");
        // An outage over half of the range is not usual.
        check_spikes(&[(50, 0), (50, 0), (50, 0), (50, 0), (50, 45), (50, 45), (50, 45), (50, 45)], "....!!!!");
        check_spikes(&[], "");
        check_spikes(&[(u32::MAX, u32::MAX), (u32::MAX, 0), (u32::MAX, 0), (u32::MAX, 0)], "!...");
    }

    #[test]
    fn bars_are_scaled_to_the_greatest_and_the_smallest_is_seen() {
        let it = histogram(&[(8, 0), (0, 0), (1, 0), (4, 0), (800, 0)]);
        let rows = drawn(&it, &Marks::default(), &Theme::mono(), 2);
        assert_eq!(rows[0], "  800 ▁▁▁▁▁     ▁▁▁▁▁▁▁▁▁▁█████ 10 s");
        assert_eq!(rows[1], "14:43 ───────────────────────── 14:43");
    }

    #[test]
    fn three_rows_hold_bars_of_two() {
        let it = histogram(&[(16, 0), (8, 0), (12, 0)]);
        let rows = drawn(&it, &Marks::default(), &Theme::mono(), 3);
        assert_eq!(rows[0], "   16 ██████      ▄▄▄▄▄▄ 10 s");
        assert_eq!(rows[1], "      ██████████████████");
    }

    #[test]
    fn a_spike_has_a_mark_without_colour_and_in_ascii() {
        let it = histogram(&[(8, 0), (8, 7), (8, 0), (8, 0)]);
        let ascii = Theme::mono().with_ascii(true);
        let rows = drawn(&it, &Marks::default(), &ascii, 2);
        assert_eq!(rows[1], "14:43 ---------!-------------- 14:43");
        assert!(rows.iter().all(|it| it.is_ascii()), "{rows:?}");
        let rows = drawn(&it, &Marks::default(), &Theme::mono(), 1);
        assert_eq!(rows, ["14:43 ▇▇▇▇▇▇!!!!!!▇▇▇▇▇▇▇▇▇▇▇▇ 14:43"]);
    }

    #[test]
    fn a_bar_is_made_of_its_levels_with_the_worst_at_the_bottom() {
        let mut it = histogram(&[(320, 100), (320, 100)]);
        it.buckets[0].by_level[Bucket::index(Some(Level::Info))] -= 100;
        it.buckets[0].by_level[Bucket::index(Some(Level::Warn))] = 100;
        let theme = load(&[]).0.into_iter().find(|it| it.name == "ansi").expect("built in");
        let area = Rect::new(0, 0, 40, 4);
        let mut buf = Buffer::empty(area);
        let now = "2024-08-19T20:00:00Z".parse().unwrap();
        draw(&it, &Marks::default(), (now, &TimeZone::UTC), &theme, area, &mut buf);
        let grid = Grid::new(40, 2);
        let colours = |bucket| [2, 1, 0].map(|y| buf[(grid.columns_of(bucket).start, y)].fg);
        let of = |roles: [Role; 3]| roles.map(|it| theme.style(it).fg.expect("a colour"));
        assert_eq!(colours(0), of([Role::HistogramError, Role::LogWarn, Role::Histogram]));
        assert_eq!(colours(1), of([Role::HistogramError, Role::Histogram, Role::Histogram]));
    }

    #[test]
    fn the_axis_is_thick_where_the_rows_on_the_screen_are() {
        let it = histogram(&[(8, 0), (8, 0), (8, 0), (8, 0)]);
        let at = |second: u64| start_of(&it, 0) + SignedDuration::from_secs(second as i64);
        let marks = Marks { window: Some((at(12), at(25))), cursor: Some(3), chosen: None };
        let rows = drawn(&it, &marks, &Theme::mono(), 2);
        assert_eq!(rows[1], "14:43 ──────━━━━━━━━━━━━───▲── 14:43");
    }

    #[test]
    fn a_scan_that_is_not_done_says_how_far_it_is() {
        let it = Histogram { complete: false, scanned_bytes: 1, total_bytes: 3, ..histogram(&[(8, 0)]) };
        assert!(drawn(&it, &Marks::default(), &Theme::mono(), 2)[0].ends_with(" 33%…"));
        assert!(drawn(&it, &Marks::default(), &Theme::mono(), 1)[0].ends_with(" 33%…"));
        let done = Histogram { complete: false, scanned_bytes: 3, total_bytes: 3, ..it };
        assert!(drawn(&done, &Marks::default(), &Theme::mono(), 1)[0].ends_with(" 99%…"));
    }

    #[test]
    fn columns_and_buckets_belong_together() {
        for (width, buckets) in [(40, 5), (80, 56), (80, 400), (7, 3), (1, 1), (200, 0), (0, 9)] {
            let grid = Grid::new(width, buckets);
            for bucket in grid.first..grid.end {
                for column in grid.columns_of(bucket) {
                    assert_eq!(grid.bucket_at(column), Some(bucket), "{width} {buckets}");
                }
            }
            assert_eq!(grid.bucket_at(grid.right()), None, "{width} {buckets}");
        }
    }

    #[test]
    fn words_say_the_span_and_what_is_in_it() {
        let it = histogram(&[(1204, 37), (0, 0)]);
        let now = "2024-08-19T20:00:00Z".parse().unwrap();
        let say = |range, now| words(&it, &range, (now, &TimeZone::UTC), &Theme::mono());
        assert_eq!(say(0..1, now), "14:43:00–14:43:10 1,204 records, 37 errors");
        assert_eq!(say(1..2, now), "14:43:10–14:43:20 0 records");
        let later = "2025-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(say(0..2, later), "2024-08-19 14:43:00–14:43:20 1,204 records, 37 errors");
    }
}
