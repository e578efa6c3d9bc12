//! A log engine over rows in memory: filters, searches and jumps as the real one does, without files.

use hotseat::domain::log::{Anchor, ChipCount, Counts, Find, Level, Record, Row, Window, WindowRequest};
use hotseat::domain::query::Query;
use hotseat::domain::query::matcher::{Matcher, Pattern, Subject};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The rows that the request asks for.
pub fn answer(rows: &[Row], request: &WindowRequest, now: Timestamp) -> Window {
    let query = Query::parse(&request.query).expect("the pane sends valid queries");
    let matcher = Matcher::new(&query, now, &TimeZone::UTC).expect("the pane sends valid chips");
    let search = Pattern::regex(&request.search).ok().filter(|_| !request.search.is_empty());
    let passing: Vec<&Row> = rows
        .iter()
        .filter(|row| match row {
            Row::Record(record) => matcher.passes(&Stored::of(record)),
            Row::Gap(_) | Row::Break => true,
        })
        .collect();
    let time = |at: usize| passing[at].position().and_then(|it| it.time);
    let index = |wanted| passing.iter().position(|it| it.position() == Some(wanted));
    let mut missing = None;
    let anchor = match &request.anchor {
        Anchor::Tail => passing.len(),
        Anchor::Head => 0,
        Anchor::At(position) => index(position)
            .or_else(|| (0..passing.len()).find(|at| time(*at) >= position.time))
            .unwrap_or(passing.len()),
        Anchor::Time(wanted) => (0..passing.len()).find(|at| time(*at) >= Some(*wanted)).unwrap_or(passing.len()),
        Anchor::Find { from, backwards, find } => {
            let from = from.as_ref().and_then(index).unwrap_or(passing.len());
            let found = |at: &usize| match passing[*at] {
                Row::Record(record) => match find {
                    Find::LevelAtLeast(level) => record.level >= Some(*level),
                    Find::Search => search.as_ref().is_some_and(|it| it.is_match(&Stored::of(record).0)),
                },
                Row::Gap(_) | Row::Break => false,
            };
            let hit = if *backwards { (0..from).rfind(found) } else { (from + 1..passing.len()).find(found) };
            missing = hit.is_none().then(|| "no match there".to_string());
            hit.unwrap_or(from)
        }
    };
    let shown = anchor.saturating_sub(request.before as usize)..(anchor + request.after as usize).min(passing.len());
    Window {
        view: request.view,
        generation: request.generation,
        rows: Some(passing[shown.clone()].iter().map(|it| with_hits(it, &matcher, search.as_ref())).collect()),
        anchor_row: (anchor < shown.end).then(|| anchor - shown.start),
        at_head: shown.start == 0,
        at_tail: shown.end == passing.len(),
        missing,
        counts: Counts {
            matched: passing.len() as u64,
            scanned: rows.len() as u64,
            scanned_bytes: 1,
            total_bytes: 1,
            complete: true,
        },
        query_error: None,
        chip_counts: if request.chip_counts { chip_counts(rows, &query, now) } else { Vec::new() },
        histogram: None,
    }
}

/// What each chip leaves of what those before it left.
fn chip_counts(rows: &[Row], query: &Query, now: Timestamp) -> Vec<ChipCount> {
    let left = |chips: usize| {
        let query = Query { chips: query.chips[..chips].to_vec() };
        let matcher = Matcher::new(&query, now, &TimeZone::UTC).expect("valid chips");
        let passes = |row: &&Row| matches!(row, Row::Record(record) if matcher.passes(&Stored::of(record)));
        rows.iter().filter(passes).count() as u64
    };
    (0..query.chips.len()).map(|at| ChipCount { matched: left(at + 1), of: left(at), complete: true }).collect()
}

fn with_hits(row: &Row, matcher: &Matcher, search: Option<&Pattern>) -> Row {
    let mut row = row.clone();
    if let Row::Record(record) = &mut row {
        for pattern in matcher.highlights().chain(search) {
            for (line, text) in record.lines.iter().enumerate() {
                if let Some(hit) = pattern.find_at(text.as_bytes(), 0) {
                    record.hits.push((line as u32, hit.start as u32..hit.end as u32));
                }
            }
        }
    }
    row
}

/// A record as the matcher sees it.
struct Stored(Vec<u8>, Option<Level>, Option<Timestamp>);

impl Stored {
    fn of(record: &Record) -> Self {
        Self(record.lines.join("\n").into_bytes(), record.level, record.position.time)
    }
}

impl Subject for Stored {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn level(&self) -> Option<Level> {
        self.1
    }
    fn time(&self) -> Option<Timestamp> {
        self.2
    }
}
