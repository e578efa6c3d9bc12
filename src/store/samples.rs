//! Outcomes and what is kept of probes: from the board to rows and back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::domain::ids::ProbeId;
use crate::domain::probe::outcome::{Evidence, Outcome, Phase, Phases, ProbeResult, Trouble};
use crate::domain::probe::{Glimpse, LastRuns, OUTCOMES_MAX, ProbeKept, Sample};
use crate::store::spread::{put_varint, take_varint};

/// The whole evidence of a probe that goes on failing is kept this often: between, the headers and the body
/// are as good as certain to be the same, and a storm must not fill the disk with them.
const EVIDENCE_EVERY: Duration = Duration::from_secs(300);

/// How much of the past is held in memory at once while it is walked.
const SLICE: SignedDuration = SignedDuration::from_hours(1);

/// Numbers of probes, and what was written of them last.
#[derive(Default)]
pub struct Known {
    probes: HashMap<ProbeId, Last>,
}

struct Last {
    id: i64,
    /// When the whole evidence was written, while it goes on failing.
    evidence_at: Option<Timestamp>,
    /// The health and since when, as written.
    turn: Option<(&'static str, Timestamp)>,
}

impl Known {
    /// The number of a probe; it gets one when it has none yet.
    pub fn number(&mut self, connection: &Connection, probe: &ProbeId) -> rusqlite::Result<i64> {
        Ok(self.last(connection, probe)?.id)
    }

    fn last(&mut self, connection: &Connection, probe: &ProbeId) -> rusqlite::Result<&mut Last> {
        match self.probes.entry(probe.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                Ok(place.insert(Last { id: number(connection, probe)?, evidence_at: None, turn: None }))
            }
        }
    }
}

/// Writes an outcome; one with the same probe and time is replaced by it.
pub fn insert(connection: &Connection, known: &mut Known, sample: &Sample) -> rusqlite::Result<i64> {
    let Sample { probe, outcome, kept, .. } = sample;
    let last = known.last(connection, probe)?;
    let at = outcome.at.as_microsecond();
    let due = sample.next.map(|it| it.duration_since(outcome.at).as_millis().clamp(0, i128::from(u32::MAX)) as i64);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO outcome (probe, at, result, phases, lag, suspect, due) VALUES (?,?,?,?,?,?,?)",
        )?
        .execute(params![
            last.id,
            at,
            result_code(outcome.result),
            encode_phases(&outcome.phases),
            micros(outcome.lag),
            outcome.latency_suspect,
            due
        ])?;
    if outcome.result == ProbeResult::Ok {
        last.evidence_at = None;
    } else {
        let is_whole = last.evidence_at.is_none_or(|it| outcome.at.duration_since(it).unsigned_abs() >= EVIDENCE_EVERY);
        let light;
        let evidence = if is_whole {
            last.evidence_at = Some(outcome.at);
            &outcome.evidence
        } else {
            let mut copy = outcome.as_ref().clone();
            copy.lighten();
            light = copy.evidence;
            &light
        };
        connection
            .prepare_cached("INSERT OR REPLACE INTO evidence (probe, at, trouble, evidence) VALUES (?,?,?,?)")?
            .execute(params![last.id, at, json(&outcome.trouble)?, json(evidence)?])?;
    }
    if let Some(since) = kept.health.since() {
        let turn = (kept.health.health().word(), since);
        if last.turn != Some(turn) {
            connection
                .prepare_cached("INSERT OR REPLACE INTO turn (probe, at, health, seen) VALUES (?,?,?,?)")?
                .execute(params![last.id, since.as_microsecond(), turn.0, at])?;
            last.turn = Some(turn);
        }
    }
    Ok(last.id)
}

/// Writes what is kept of a probe over a restart.
pub fn keep(connection: &Connection, probe: i64, at: Timestamp, kept: &ProbeKept) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO probe_state (probe, kept, at) VALUES (?,?,?) \
             ON CONFLICT (probe) DO UPDATE SET kept = excluded.kept, at = excluded.at",
        )?
        .execute(params![probe, json(kept)?, at.as_microsecond()])?;
    Ok(())
}

/// Reads back what was kept of all probes; what cannot be read any more is left out.
pub fn restore(connection: &Connection) -> rusqlite::Result<Vec<(ProbeId, ProbeKept)>> {
    let mut statement =
        connection.prepare("SELECT name, kept FROM probe_state JOIN probe ON probe.id = probe_state.probe")?;
    let mut rows = statement.query([])?;
    let mut probes = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, kept) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        // An older or newer hotseat may have known other fields; the next outcome writes it anew.
        if let (Some(probe), Ok(kept)) = (probe_id(name), serde_json::from_str(kept)) {
            probes.push((probe, kept));
        }
    }
    Ok(probes)
}

/// Reads what the last runs of all probes found, oldest first.
///
/// # Errors
/// When SQLite refuses.
pub fn glimpses(connection: &Connection) -> rusqlite::Result<Vec<(ProbeId, Vec<Glimpse>)>> {
    let mut statement = connection.prepare_cached(
        "SELECT at, result, phases, lag, suspect, due FROM outcome WHERE probe = ? ORDER BY at DESC LIMIT ?",
    )?;
    let mut all_glimpses = Vec::new();
    for (id, probe) in all(connection)? {
        let rows = statement.query_map(params![id, OUTCOMES_MAX as i64], |row| {
            Ok(Glimpse::of(&Raw::read(row)?.outcome(None, Evidence::default())))
        })?;
        let mut glimpses = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        glimpses.reverse();
        if !glimpses.is_empty() {
            all_glimpses.push((probe, glimpses));
        }
    }
    Ok(all_glimpses)
}

/// The newest run of any probe, and the one before it of the same probe.
pub fn last_runs(connection: &Connection) -> rusqlite::Result<Option<LastRuns>> {
    let mut statement = connection.prepare_cached("SELECT at FROM outcome WHERE probe = ? ORDER BY at DESC LIMIT 2")?;
    let mut last: Option<LastRuns> = None;
    for (id, _) in all(connection)? {
        let rows = statement.query_map([id], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut runs = rows.into_iter().map(timestamp);
        let Some(newest) = runs.next().filter(|it| last.is_none_or(|last| last.newest < *it)) else { continue };
        last = Some(LastRuns { newest, before: runs.next() });
    }
    Ok(last)
}

/// The number of a probe, when anything is known of it.
pub fn find(connection: &Connection, probe: &ProbeId) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM probe WHERE name = ?")?;
    statement.query_row([probe.as_str()], |row| row.get(0)).optional()
}

/// The numbers of all probes.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<(i64, ProbeId)>> {
    let mut statement = connection.prepare_cached("SELECT id, name FROM probe ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    rows.filter_map(|row| row.map(|(id, name)| Some((id, probe_id(&name)?))).transpose()).collect()
}

fn number(connection: &Connection, probe: &ProbeId) -> rusqlite::Result<i64> {
    if let Some(id) = find(connection, probe)? {
        return Ok(id);
    }
    connection.execute("INSERT INTO probe (name) VALUES (?)", [probe.as_str()])?;
    Ok(connection.last_insert_rowid())
}

fn probe_id(name: &str) -> Option<ProbeId> {
    serde_json::from_value(serde_json::Value::String(name.to_string())).ok()
}

/// An outcome as `outcome` keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw {
    /// When it began.
    pub at: Timestamp,
    /// What it found.
    pub result: ProbeResult,
    /// How long each phase took.
    pub phases: Phases,
    /// How late it began.
    pub lag: Duration,
    /// Its times are not to be trusted.
    pub suspect: bool,
    /// How long after it the next was due.
    pub due: Option<Duration>,
}

impl Raw {
    /// Of an outcome that is not written yet.
    pub fn of(outcome: &Outcome, next: Option<Timestamp>) -> Self {
        let Outcome { at, result, phases, lag, latency_suspect, .. } = *outcome;
        let due = next.and_then(|it| Duration::try_from(it.duration_since(at)).ok());
        Self { at, result, phases, lag, suspect: latency_suspect, due }
    }

    /// Reads a row that begins with `at, result, phases, lag, suspect, due`.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            at: timestamp(row.get(0)?),
            result: result_of(row.get(1)?),
            phases: decode_phases(row.get_ref(2)?.as_blob()?),
            lag: Duration::from_micros(row.get::<_, i64>(3)?.unsigned_abs()),
            suspect: row.get(4)?,
            due: row.get::<_, Option<i64>>(5)?.map(|it| Duration::from_millis(it.unsigned_abs())),
        })
    }

    /// The outcome again, with what was kept of its evidence.
    pub fn outcome(self, trouble: Option<Trouble>, evidence: Evidence) -> Outcome {
        let Self { at, result, phases, lag, suspect, .. } = self;
        Outcome { at, result, phases, trouble, evidence, lag, latency_suspect: suspect }
    }
}

/// Hands the outcomes of a probe (or of all) in a range to `each`, oldest first, until it answers `false`.
///
/// # Errors
/// When SQLite refuses.
pub fn walk(
    connection: &Connection,
    probe: Option<&ProbeId>,
    range: Range<Timestamp>,
    mut each: impl FnMut(&ProbeId, Outcome) -> bool,
) -> rusqlite::Result<()> {
    let mut probes = all(connection)?;
    probes.retain(|(_, it)| probe.is_none_or(|probe| probe == it));
    let mut from = range.start;
    while let Some(first) = first_at(connection, &probes, from)?.filter(|it| *it < range.end) {
        // Slice by slice: the rows lie by probe, and all of them at once may be more than fits in memory.
        let until = range.end.min(first.saturating_add(SLICE).unwrap_or(range.end));
        let mut slice = Vec::new();
        for (id, probe) in &probes {
            read_slice(connection, *id, first..until, |outcome| slice.push((probe, outcome)))?;
        }
        slice.sort_by_key(|(_, it)| it.at);
        for (probe, outcome) in slice {
            if !each(probe, outcome) {
                return Ok(());
            }
        }
        from = until;
    }
    Ok(())
}

fn first_at(
    connection: &Connection,
    probes: &[(i64, ProbeId)],
    from: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut first = None;
    let mut statement = connection.prepare_cached("SELECT min(at) FROM outcome WHERE probe = ? AND at >= ?")?;
    for (id, _) in probes {
        let at: Option<i64> = statement.query_row(params![id, from.as_microsecond()], |row| row.get(0))?;
        first = first.into_iter().chain(at).min();
    }
    Ok(first.map(timestamp))
}

fn read_slice(
    connection: &Connection,
    probe: i64,
    range: Range<Timestamp>,
    mut each: impl FnMut(Outcome),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT o.at, result, phases, lag, suspect, due, trouble, evidence FROM outcome o \
         LEFT JOIN evidence e ON e.probe = o.probe AND e.at = o.at \
         WHERE o.probe = ? AND o.at >= ? AND o.at < ? ORDER BY o.at",
    )?;
    let mut rows = statement.query(params![probe, range.start.as_microsecond(), range.end.as_microsecond()])?;
    while let Some(row) = rows.next()? {
        let text = |at: usize| row.get_ref(at).ok().and_then(|it| it.as_str().ok());
        let trouble = text(6).and_then(|it| serde_json::from_str(it).ok()).flatten();
        let evidence = text(7).and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
        each(Raw::read(row)?.outcome(trouble, evidence));
    }
    Ok(())
}

/// JSON of something of ours.
pub(super) fn json<T: serde::Serialize>(it: &T) -> rusqlite::Result<String> {
    serde_json::to_string(it).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Microseconds since 1970 to a time; what is out of range is the beginning of time.
pub(super) fn timestamp(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn micros(it: Duration) -> i64 {
    i64::try_from(it.as_micros()).unwrap_or(i64::MAX)
}

fn result_code(it: ProbeResult) -> i64 {
    match it {
        ProbeResult::Ok => 0,
        ProbeResult::Degraded => 1,
        ProbeResult::Fail => 2,
        ProbeResult::Unknown => 3,
    }
}

fn result_of(code: i64) -> ProbeResult {
    match code {
        0 => ProbeResult::Ok,
        1 => ProbeResult::Degraded,
        2 => ProbeResult::Fail,
        _ => ProbeResult::Unknown,
    }
}

/// The number of a phase on disk; never changed, only added to.
fn phase_code(it: Phase) -> u8 {
    match it {
        Phase::Dns => 1,
        Phase::Connect => 2,
        Phase::Tls => 3,
        Phase::Wait => 4,
        Phase::Body => 5,
        Phase::Run => 6,
        Phase::Proxy => 7,
    }
}

fn encode_phases(phases: &Phases) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24);
    for (phase, took) in phases.happened() {
        bytes.push(phase_code(phase));
        put_varint(&mut bytes, micros(took).unsigned_abs());
    }
    bytes
}

fn decode_phases(mut bytes: &[u8]) -> Phases {
    let mut phases = Phases::default();
    while let Some((code, rest)) = bytes.split_first() {
        bytes = rest;
        let Some(us) = take_varint(&mut bytes) else { break };
        // Of a newer hotseat: the others are still right.
        let Some(phase) = Phase::ALL.iter().find(|it| phase_code(**it) == *code) else { continue };
        phases.add(*phase, Duration::from_micros(us));
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_come_back_as_they_were() {
        let mut phases = Phases::default();
        assert_eq!(decode_phases(&encode_phases(&phases)), phases);
        for (at, phase) in Phase::ALL.iter().enumerate() {
            phases.add(*phase, Duration::from_micros(77 << (5 * at)));
        }
        assert_eq!(decode_phases(&encode_phases(&phases)), phases);
        let mut newer = vec![200, 5];
        newer.extend(encode_phases(&phases));
        assert_eq!(decode_phases(&newer), phases, "a phase that is not known yet is passed over");
    }
}
