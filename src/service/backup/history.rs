//! The history of a job: what the journal remembers, corrected by what the destinations hold.
//!
//! On an empty host the manifests alone give it back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::backup::RUNS_MAX;
use crate::domain::backup::run::{CopyRow, CopyState, Run, RunState};
use crate::domain::backup::slot::{self, Attempt, AttemptOutcome, Next};
use crate::domain::ids::{HostId, JobId, RunId};
use crate::service::backup::artefact::{self, Found};
use crate::service::backup::spec::{JobSpec, NamedDestination};
use crate::service::backup::state::{BackupState, Remembered};

/// What a slot is missed for, as far as can be known.
const MISSED_WHY: &str = "hotseat was not running";

/// What a row says whose run did not live to end it.
pub const CUT_OFF: &str = "it was cut off; nothing of it was left behind";

/// The history of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// From when on the slots of the present schedule count; `None`: it was never seen.
    pub since: Option<Timestamp>,
    /// Newest first.
    pub runs: Vec<Run>,
}

/// Reads the history of a job; changes nothing.
pub fn load(state: &BackupState, remembered: &Remembered, host: &HostId, spec: &JobSpec) -> History {
    let job = JobId::new(host, &spec.name);
    let mine = |run: &&Run| run.job == job;
    let mut runs: BTreeMap<RunId, Run> =
        remembered.ended.values().filter(mine).map(|it| (it.id.clone(), it.clone())).collect();
    let running = state.is_running(&spec.name);
    for begun in remembered.begun.values().filter(mine) {
        let mut run = begun.clone();
        if !running {
            run.state = RunState::Interrupted;
            run.error = Some(CUT_OFF.into());
        }
        runs.insert(run.id.clone(), run);
    }
    for destination in &spec.destinations {
        merge(&mut runs, remembered, &job, spec, destination);
    }
    let names: Vec<&str> = spec.destinations.iter().map(|it| it.name.as_str()).collect();
    let place_of = |copy: &CopyRow| names.iter().position(|it| *it == copy.destination);
    let mut runs: Vec<Run> = runs.into_values().collect();
    for run in &mut runs {
        // A destination that the config no longer names cannot be looked at.
        run.copies.retain(|copy| place_of(copy).is_some());
        run.copies.sort_by_key(place_of);
    }
    runs.retain(|run| !run.state.has_artefact() || !run.copies.is_empty());
    runs.sort_by(|left, right| (right.started, &right.id).cmp(&(left.started, &left.id)));
    runs.truncate(RUNS_MAX);
    History { since: since(remembered, spec), runs }
}

/// How the schedule stands in the journal: a changed one starts afresh, so that it has no old misses.
pub fn schedule_key(spec: &JobSpec) -> String {
    spec.schedule.as_ref().map(|it| format!("{} {}", it.text(), it.zone_name())).unwrap_or_default()
}

fn since(remembered: &Remembered, spec: &JobSpec) -> Option<Timestamp> {
    let (schedule, since) = remembered.schedules.get(&spec.name)?;
    (*schedule == schedule_key(spec)).then_some(*since)
}

/// The marker id that earlier runs found at a destination.
pub fn known_id<'a>(remembered: &'a Remembered, job: &str, destination: &NamedDestination) -> Option<&'a str> {
    remembered.markers.get(&(job.to_string(), destination.destination.location())).map(String::as_str)
}

/// Puts what a destination holds into the runs.
fn merge(
    runs: &mut BTreeMap<RunId, Run>,
    remembered: &Remembered,
    job: &JobId,
    spec: &JobSpec,
    destination: &NamedDestination,
) {
    let known_id = known_id(remembered, &spec.name, destination);
    let opened = destination.destination.open_existing(known_id);
    let found = opened.and_then(|place| artefact::list(place.as_ref(), &spec.name));
    for run in runs.values_mut() {
        if remembered.deleted.contains(&(destination.name.clone(), run.id.clone())) {
            run.copies.retain(|it| it.destination != destination.name);
        }
        let Some(copy) = run.copy_mut(&destination.name) else { continue };
        if matches!(copy.state, CopyState::Failed { .. }) {
            continue;
        }
        let error = found.as_ref().err().map_or("the artefact is gone".to_string(), ToString::to_string);
        copy.state = CopyState::Missing { error };
    }
    for it in found.unwrap_or_default() {
        put(runs, job, destination, it);
    }
}

fn put(runs: &mut BTreeMap<RunId, Run>, job: &JobId, destination: &NamedDestination, found: Found) {
    let location = format!("{}/{}", destination.destination.location(), found.artefact);
    let run = match found.manifest {
        Ok(manifest) => {
            let run =
                runs.entry(manifest.run.clone()).or_insert_with(|| Run::from_manifest(job.clone(), manifest.clone()));
            if !run.state.has_artefact() {
                // Killed after the commit point and before the journal knew: the manifest decides.
                let begun = std::mem::replace(run, Run::from_manifest(job.clone(), manifest.clone()));
                run.copies = begun.copies;
            }
            run.manifest = Some(Box::new(manifest));
            run
        }
        Err(_) => {
            let of_artefact = |run: &&Run| {
                run.manifest.as_ref().is_some_and(|it| it.artefact == found.artefact)
                    || run.copies.iter().any(|it| it.location.rsplit('/').next() == Some(&found.artefact))
            };
            let id = match runs.values().find(of_artefact) {
                Some(run) => run.id.clone(),
                None => RunId::new(&HostId::new(job.host()), &format!("{}@damaged-{}", job.name(), found.artefact)),
            };
            let started = started_of_name(&found.artefact).unwrap_or(Timestamp::UNIX_EPOCH);
            let begin = || Run { state: RunState::Ok, ..Run::begin(id.clone(), job.clone(), None, started) };
            runs.entry(id.clone()).or_insert_with(begin)
        }
    };
    match run.copy_mut(&destination.name) {
        Some(copy) => *copy = CopyRow { location, state: found.state, ..copy.clone() },
        None => run.copies.push(CopyRow { destination: destination.name.clone(), location, state: found.state }),
    }
}

fn started_of_name(artefact: &str) -> Option<Timestamp> {
    let stamp = artefact.rsplit_once("_backup_")?.1.get(..16)?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

impl History {
    /// Decides what the job does next.
    pub fn next(&self, spec: &JobSpec, now: Timestamp) -> Next {
        let (Some(schedule), Some(since)) = (&spec.schedule, self.since) else { return Next::Never };
        slot::next(schedule, now, since, &self.attempts())
    }

    fn attempts(&self) -> Vec<Attempt> {
        let attempt = |run: &Run| {
            let outcome = match run.state {
                RunState::Ok | RunState::Partial | RunState::Inconsistent | RunState::Running => AttemptOutcome::Good,
                RunState::Failed => AttemptOutcome::Failed,
                RunState::Interrupted => AttemptOutcome::Interrupted,
                RunState::Missed | RunState::Skipped => return None,
            };
            let ended =
                run.duration_ms.and_then(|it| run.started.checked_add(std::time::Duration::from_millis(it)).ok());
            Some(Attempt { slot: run.slot?, ended: ended.unwrap_or(run.started), outcome })
        };
        self.runs.iter().filter_map(attempt).collect()
    }

    /// The slots that nothing ran for, as rows.
    pub fn missed(&self, spec: &JobSpec, host: &HostId, now: Timestamp) -> Vec<Run> {
        let (Some(schedule), Some(since)) = (&spec.schedule, self.since) else { return Vec::new() };
        let seen: BTreeSet<Timestamp> = self.runs.iter().filter_map(|it| it.slot).collect();
        let row = |slot: Timestamp| {
            let id = RunId::new(host, &format!("{}@{}-missed", spec.name, slot.strftime("%Y%m%dT%H%M%SZ")));
            Run::missed(id, JobId::new(host, &spec.name), slot, MISSED_WHY)
        };
        slot::missed(schedule, now, since, &seen).into_iter().map(row).collect()
    }

    /// True when the slot has an artefact.
    pub fn has_slot(&self, slot: Timestamp) -> Option<&Run> {
        self.runs.iter().find(|it| it.slot == Some(slot) && it.state.has_artefact())
    }
}
