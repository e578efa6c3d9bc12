//! Backup jobs and their history: what is observed of them and what the board makes of it.
//!
//! When a run is due is decided in [`slot`], what may be deleted in [`retention`]; [`run`] is a row of the
//! history and [`manifest`] what stands beside an artefact.

pub mod manifest;
pub mod retention;
pub mod run;
pub mod slot;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::backup::run::{CopyState, Progress, Run, RunState, Verification};
use crate::domain::format;
use crate::domain::ids::{JobId, RunId};

/// Rows kept per job: a year of daily runs with a few failures.
pub const RUNS_MAX: usize = 400;

/// A job as the config describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its name.
    pub id: JobId,
    /// Kind of its source: `file`, `sqlite`.
    pub kind: String,
    /// What it reads, in words: usually a path.
    pub source: String,
    /// When it runs, as the config says; `None`: only when a person asks.
    pub schedule: Option<String>,
    /// The zone of the schedule.
    pub zone: Option<String>,
    /// Names of its destinations, in the order of the config.
    pub destinations: Vec<String>,
    /// What is kept, in words; `None`: everything.
    pub keep: Option<String>,
}

/// What is observed of a backup job or run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupFact {
    /// It is in the config, new or changed.
    Configured {
        /// As the config describes it.
        job: Box<JobInfo>,
    },
    /// It was removed from the config.
    Removed {
        /// Which.
        job: JobId,
    },
    /// Its history was read; replaces what was known.
    Loaded {
        /// Which job.
        job: JobId,
        /// Newest first.
        runs: Vec<Run>,
    },
    /// Its next run was planned.
    Planned {
        /// Which job.
        job: JobId,
        /// When; `None`: only when a person asks.
        next: Option<Timestamp>,
    },
    /// A run began.
    Started {
        /// The row, `RunState::Running`.
        run: Box<Run>,
    },
    /// A run went on; sent at most ten times a second.
    Progressed {
        /// Which job.
        job: JobId,
        /// Which run.
        run: RunId,
        /// How far.
        progress: Progress,
    },
    /// A run ended somehow, or a slot was missed.
    Ended {
        /// The row.
        run: Box<Run>,
    },
    /// A run's copies were read back.
    Verified {
        /// The row.
        run: Box<Run>,
    },
    /// Copies were deleted by the retention.
    Deleted {
        /// Which job.
        job: JobId,
        /// From which destination.
        destination: String,
        /// Whose copies.
        runs: Vec<RunId>,
    },
    /// The retention was or is no longer held back.
    Held {
        /// Which job.
        job: JobId,
        /// Why, in words; `None`: it is free again.
        reason: Option<String>,
    },
}

/// A finished or failed run, for the incident timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunNews {
    /// Which job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// What happened, in words: `backup ok, 1.2 GB in 3m12s`.
    pub text: String,
}

/// One job with what is known of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// As the config describes it.
    pub info: JobInfo,
    /// Newest first, at most [`RUNS_MAX`].
    pub runs: Vec<Run>,
    /// The next planned run.
    pub next: Option<Timestamp>,
    /// The run that is made or verified now, and how far.
    pub progress: Option<(RunId, Progress)>,
    /// Why nothing is deleted, in words.
    pub held: Option<String>,
}

impl JobRow {
    /// The newest row that has an artefact whose source was consistent.
    pub fn newest_good(&self) -> Option<&Run> {
        self.runs.iter().find(|it| matches!(it.state, RunState::Ok | RunState::Partial))
    }

    /// The newest row that says how the job fares: a run that was skipped for another one does not.
    pub fn newest(&self) -> Option<&Run> {
        self.runs.iter().find(|it| it.state != RunState::Skipped).or(self.runs.first())
    }

    /// Change of the raw size against the run before, as a ratio: `0.004` is +0.4 %.
    pub fn change(&self, run: &RunId) -> Option<f64> {
        let at = self.runs.iter().position(|it| it.id == *run)?;
        let bytes = self.runs[at].raw_bytes?;
        let before = self.runs[at + 1..].iter().filter(|it| it.state.has_artefact()).find_map(|it| it.raw_bytes)?;
        (before > 0).then(|| bytes as f64 / before as f64 - 1.0)
    }

    fn put(&mut self, run: &Run) {
        self.runs.retain(|it| it.id != run.id);
        let at = self.runs.partition_point(|it| (it.started, &it.id) > (run.started, &run.id));
        self.runs.insert(at, run.clone());
        self.runs.truncate(RUNS_MAX);
    }
}

/// What the board knows of backups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupBoard {
    /// In the order of the config.
    pub jobs: Vec<JobRow>,
}

impl BackupBoard {
    /// Finds a job.
    pub fn job(&self, job: &JobId) -> Option<&JobRow> {
        self.jobs.iter().find(|it| it.info.id == *job)
    }

    /// Finds a run and its job.
    pub fn run(&self, run: &RunId) -> Option<(&JobRow, &Run)> {
        self.jobs.iter().find_map(|job| job.runs.iter().find(|it| it.id == *run).map(|found| (job, found)))
    }

    /// A job that this runtime is making a copy for right now; one that another process runs tells no progress.
    pub fn at_work(&self) -> Option<&JobId> {
        let job = self.jobs.iter().find(|job| {
            let running = |run: &&Run| run.state == RunState::Running;
            job.progress.as_ref().is_some_and(|(id, _)| job.runs.iter().filter(running).any(|run| run.id == *id))
        })?;
        Some(&job.info.id)
    }

    /// Every row of every job: running ones first, then newest first.
    pub fn rows(&self) -> Vec<(&JobRow, &Run)> {
        let mut rows: Vec<_> = self.jobs.iter().flat_map(|job| job.runs.iter().map(move |run| (job, run))).collect();
        rows.sort_by(|(_, left), (_, right)| {
            let key = |it: &Run| (it.state == RunState::Running, it.started);
            key(right).cmp(&key(left)).then_with(|| right.id.cmp(&left.id))
        });
        rows
    }

    /// Folds one fact in and says what the timeline should show.
    pub fn apply(&mut self, now: Timestamp, fact: &BackupFact) -> Vec<RunNews> {
        match fact {
            BackupFact::Configured { job } => {
                match self.jobs.iter_mut().find(|it| it.info.id == job.id) {
                    Some(row) => row.info = (**job).clone(),
                    None => self.jobs.push(JobRow {
                        info: (**job).clone(),
                        runs: Vec::new(),
                        next: None,
                        progress: None,
                        held: None,
                    }),
                }
                Vec::new()
            }
            BackupFact::Removed { job } => {
                self.jobs.retain(|it| it.info.id != *job);
                Vec::new()
            }
            BackupFact::Loaded { job, runs } => {
                if let Some(row) = self.row_mut(job) {
                    row.runs.clone_from(runs);
                    row.runs.truncate(RUNS_MAX);
                }
                Vec::new()
            }
            BackupFact::Planned { job, next } => {
                if let Some(row) = self.row_mut(job) {
                    row.next = *next;
                }
                Vec::new()
            }
            BackupFact::Started { run } => {
                if let Some(row) = self.row_mut(&run.job) {
                    row.put(run);
                    // A row of another run, such as one that was skipped, says nothing of the one at work.
                    row.progress.take_if(|(id, _)| *id == run.id);
                }
                Vec::new()
            }
            BackupFact::Progressed { job, run, progress } => {
                if let Some(row) = self.row_mut(job) {
                    row.progress = Some((run.clone(), *progress));
                }
                Vec::new()
            }
            BackupFact::Ended { run } => {
                if let Some(row) = self.row_mut(&run.job) {
                    row.put(run);
                    // A row of another run, such as one that was skipped, says nothing of the one at work.
                    row.progress.take_if(|(id, _)| *id == run.id);
                }
                vec![RunNews { job: run.job.clone(), at: ended_at(now, run), text: ended_text(run) }]
            }
            BackupFact::Verified { run } => {
                if let Some(row) = self.row_mut(&run.job) {
                    row.put(run);
                    // A row of another run, such as one that was skipped, says nothing of the one at work.
                    row.progress.take_if(|(id, _)| *id == run.id);
                }
                verified_text(run).map(|text| vec![RunNews { job: run.job.clone(), at: now, text }]).unwrap_or_default()
            }
            BackupFact::Deleted { job, destination, runs } => {
                if let Some(row) = self.row_mut(job) {
                    for run in row.runs.iter_mut().filter(|it| runs.contains(&it.id)) {
                        run.copies.retain(|it| it.destination != *destination);
                    }
                    row.runs.retain(|it| !it.state.has_artefact() || !it.copies.is_empty());
                }
                Vec::new()
            }
            BackupFact::Held { job, reason } => {
                if let Some(row) = self.row_mut(job) {
                    row.held.clone_from(reason);
                }
                Vec::new()
            }
        }
    }

    fn row_mut(&mut self, job: &JobId) -> Option<&mut JobRow> {
        self.jobs.iter_mut().find(|it| it.info.id == *job)
    }
}

fn ended_at(now: Timestamp, run: &Run) -> Timestamp {
    if run.state == RunState::Missed { run.started } else { now }
}

fn ended_text(run: &Run) -> String {
    let why = run.error.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
    let size = run.raw_bytes.map(|it| format!(", {}", format::bytes(it))).unwrap_or_default();
    let took =
        run.duration_ms.map(|it| format!(" in {}", format::duration(Duration::from_millis(it)))).unwrap_or_default();
    match run.state {
        RunState::Ok if run.verification() == Verification::Verified => format!("backup ok{size}{took}, verified"),
        RunState::Ok => format!("backup ok{size}{took}, {}", run.verification().word()),
        RunState::Partial => format!("backup reached only some destinations{size}{took}{why}"),
        RunState::Inconsistent => format!("backup is inconsistent{size}{took}{why}"),
        RunState::Running => "backup started".into(),
        RunState::Failed => format!("backup failed{why}"),
        RunState::Missed => format!("backup missed{why}"),
        RunState::Interrupted => format!("backup interrupted{why}"),
        RunState::Skipped => format!("backup skipped{why}"),
    }
}

/// Only bad news: a timeline is not the place for every hash that matched.
fn verified_text(run: &Run) -> Option<String> {
    let bad: Vec<String> = run
        .copies
        .iter()
        .filter(|it| matches!(it.state, CopyState::Corrupt { .. } | CopyState::Missing { .. }))
        .map(|it| format!("{} on `{}`: {}", it.state.word(), it.destination, it.state.error().unwrap_or_default()))
        .collect();
    (!bad.is_empty()).then(|| format!("backup {} is {}", run.id.name(), bad.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backup::run::{CopyRow, Stage};
    use crate::domain::ids::HostId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn job() -> JobId {
        JobId::new(&HostId::new("h"), "orders")
    }

    fn run(name: &str, started: &str, state: RunState, raw_bytes: u64) -> Run {
        let id = RunId::new(&HostId::new("h"), name);
        let copies = vec![CopyRow { destination: "disk".into(), location: "/x".into(), state: CopyState::Stored }];
        Run { state, raw_bytes: Some(raw_bytes), copies, ..Run::begin(id, job(), None, at(started)) }
    }

    fn board() -> BackupBoard {
        let info = JobInfo {
            id: job(),
            kind: "file".into(),
            source: "/srv/x".into(),
            schedule: None,
            zone: None,
            destinations: vec!["disk".into()],
            keep: None,
        };
        let mut board = BackupBoard::default();
        board.apply(at("2026-11-22T01:00:00Z"), &BackupFact::Configured { job: Box::new(info) });
        board
    }

    #[test]
    fn a_run_is_one_row_from_start_to_end_and_gives_one_piece_of_news() {
        let mut board = board();
        let now = at("2026-11-22T01:00:05Z");
        let mut it = run("orders@1", "2026-11-22T01:00:00Z", RunState::Running, 0);
        assert!(board.apply(now, &BackupFact::Started { run: Box::new(it.clone()) }).is_empty());
        it.state = RunState::Failed;
        it.error = Some("no space left on device".into());
        let news = board.apply(now, &BackupFact::Ended { run: Box::new(it) });
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].text, "backup failed: no space left on device");
        assert_eq!(board.rows().len(), 1);
    }

    #[test]
    fn a_run_that_was_skipped_for_the_one_at_work_leaves_that_alone() {
        let mut board = board();
        let now = at("2026-11-22T01:00:05Z");
        let at_work = run("orders@1", "2026-11-22T01:00:00Z", RunState::Running, 0);
        board.apply(now, &BackupFact::Started { run: Box::new(at_work.clone()) });
        assert_eq!(board.at_work(), None);
        let progress = Progress { stage: Stage::Storing, done_bytes: 5, total_bytes: Some(10) };
        board.apply(now, &BackupFact::Progressed { job: job(), run: at_work.id.clone(), progress });
        let id = RunId::new(&HostId::new("h"), "orders@2");
        let skipped = Run::skipped(id, job(), None, now, "held on `h` by process 7");
        let news = board.apply(now, &BackupFact::Ended { run: Box::new(skipped) });
        assert_eq!(news[0].text, "backup skipped: held on `h` by process 7");
        assert_eq!(board.jobs[0].progress, Some((at_work.id.clone(), progress)));
        assert_eq!(board.jobs[0].newest().map(|it| &it.id), Some(&at_work.id));
        assert_eq!(board.at_work(), Some(&job()));
        board.apply(now, &BackupFact::Ended { run: Box::new(Run { state: RunState::Ok, ..at_work }) });
        assert_eq!(board.at_work(), None);
    }

    #[test]
    fn rows_are_newest_first_across_jobs_and_the_running_one_is_on_top() {
        let mut board = board();
        for it in [
            run("orders@2", "2026-11-22T02:00:00Z", RunState::Ok, 200),
            run("orders@1", "2026-11-22T01:00:00Z", RunState::Running, 100),
            run("orders@0", "2026-11-22T00:00:00Z", RunState::Ok, 100),
        ] {
            board.apply(at("2026-11-22T03:00:00Z"), &BackupFact::Ended { run: Box::new(it) });
        }
        let names: Vec<&str> = board.rows().iter().map(|(_, run)| run.id.name()).collect();
        assert_eq!(names, ["orders@1", "orders@2", "orders@0"]);
        let id = board.rows()[1].1.id.clone();
        assert_eq!(board.jobs[0].change(&id), Some(1.0));
    }

    #[test]
    fn a_run_leaves_the_list_with_its_last_copy_but_a_failed_one_stays() {
        let mut board = board();
        let good = run("orders@2", "2026-11-22T02:00:00Z", RunState::Ok, 200);
        let failed = Run { copies: Vec::new(), ..run("orders@1", "2026-11-22T01:00:00Z", RunState::Failed, 0) };
        for it in [good.clone(), failed.clone()] {
            board.apply(at("2026-11-22T03:00:00Z"), &BackupFact::Ended { run: Box::new(it) });
        }
        let deleted =
            BackupFact::Deleted { job: job(), destination: "disk".into(), runs: vec![good.id, failed.id.clone()] };
        board.apply(at("2026-11-22T03:00:00Z"), &deleted);
        assert_eq!(board.jobs[0].runs.iter().map(|it| &it.id).collect::<Vec<_>>(), [&failed.id]);
    }

    #[test]
    fn damage_is_news_and_a_clean_verification_is_not() {
        let mut board = board();
        let now = at("2026-11-22T03:00:00Z");
        let mut it = run("orders@2", "2026-11-22T02:00:00Z", RunState::Ok, 200);
        it.copies[0].state = CopyState::Verified { at: now };
        assert!(board.apply(now, &BackupFact::Verified { run: Box::new(it.clone()) }).is_empty());
        it.copies[0].state = CopyState::Corrupt { error: "the stored sha256 differs".into() };
        let news = board.apply(now, &BackupFact::Verified { run: Box::new(it) });
        assert_eq!(news[0].text, "backup orders@2 is corrupt on `disk`: the stored sha256 differs");
    }
}
