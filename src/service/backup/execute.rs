//! One run of a job, from its lock to its retention.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::backup::manifest::{Manifest, SCHEMA, shell_quote};
use crate::domain::backup::retention::{self, KeptCopy};
use crate::domain::backup::run::{CopyRow, CopyState, Progress, Run, RunState, Stage};
use crate::domain::ids::{HostId, JobId, RunId};
use crate::service::backup::artefact::{self, PARTIAL, Verdict};
use crate::service::backup::destination::Place;
use crate::service::backup::folder::io_text;
use crate::service::backup::history::{self, CUT_OFF, History};
use crate::service::backup::pass::{self, FanOut, PassError, PassSums};
use crate::service::backup::source::{Consistency, Opened, SourceContext, SourceError};
use crate::service::backup::spec::JobSpec;
use crate::service::backup::state::{BackupState, Record, Remembered};
use crate::service::backup::steps;
use crate::service::backup::target::{Target, free_name, remove_partials, warn_of_space, write_error};

/// Times a file that changes under the reader is read before it is kept as inconsistent.
const READS_MAX: u32 = 3;
/// Progress is told at most ten times a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What a run tells while it goes on.
pub enum Observed<'a> {
    /// It began.
    Started(&'a Run),
    /// It went on.
    Progress(&'a RunId, Progress),
}

/// How a run went.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The row.
    pub run: Run,
    /// Per destination: the runs whose copies were deleted.
    pub deleted: Vec<(String, Vec<RunId>)>,
    /// Why nothing was deleted, when something might have been.
    pub held: Option<String>,
}

/// Why a run did not even begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The job runs in another process; in words.
    Busy(String),
    /// The slot has an artefact already.
    SlotDone(RunId),
    /// The state directory cannot be used; in words.
    State(String),
}

impl Refusal {
    /// In words.
    pub fn text(&self, job: &str) -> String {
        match self {
            Refusal::Busy(holder) => format!("backup job `{job}` is running already ({holder})"),
            Refusal::SlotDone(run) => format!("backup job `{job}` has this slot already: {}", run.name()),
            Refusal::State(why) => format!("backup job `{job}` could not start: {why}"),
        }
    }
}

/// What a run needs.
pub struct Runner<'a> {
    /// This host.
    pub host: &'a HostId,
    /// What it remembers.
    pub state: &'a BackupState,
    /// The job.
    pub spec: &'a JobSpec,
    /// Ends the run.
    pub cancel: &'a CancellationToken,
    /// Told what happens.
    pub observe: &'a dyn Fn(Observed<'_>),
}

impl Runner<'_> {
    /// Runs the job now; `slot` is the scheduled instant that it is for.
    ///
    /// # Errors
    /// When it did not begin. A run that began and failed is a report.
    pub fn run(&self, slot: Option<Timestamp>) -> Result<Report, Refusal> {
        let began = clock::monotonic();
        let started = clock::now();
        let state_error = |error: io::Error| Refusal::State(format!("could not use the state directory: {error}"));
        let lock = self.state.lock_job(&self.spec.name, started).map_err(state_error)?;
        let _lock = lock.map_err(|holder| {
            self.remember_skipped(slot, started, &holder);
            Refusal::Busy(holder)
        })?;
        let remembered = self.state.remembered();
        let history = history::load(self.state, &remembered, self.host, self.spec);
        if let Some(done) = slot.and_then(|slot| history.has_slot(slot)) {
            return Err(Refusal::SlotDone(done.id.clone()));
        }
        self.close_cut_off(&remembered, &history);
        let id = RunId::new(self.host, &run_name(&self.spec.name, started));
        let mut run = Run::begin(id, JobId::new(self.host, &self.spec.name), slot, started);
        let mut warnings = Vec::new();
        self.remember(&Record::Started(Box::new(run.clone())), &mut warnings);
        (self.observe)(Observed::Started(&run));
        steps::reached("started");
        let mut targets = self.open_targets(&remembered, &mut warnings);
        let last_stored = history.runs.iter().find_map(|it| it.stored_bytes);
        warn_of_space(&targets, last_stored, &mut warnings);
        let result = self.store(&mut run, &mut targets, last_stored, began, &mut warnings);
        run.warnings = warnings;
        if let Err(end) = result {
            (run.state, run.error) = match end {
                End::Cancelled => (RunState::Interrupted, Some("it was stopped; nothing of it was left behind".into())),
                End::Failed(why) => (RunState::Failed, Some(why)),
            };
        }
        run.duration_ms.get_or_insert_with(|| elapsed_ms(began));
        let (mut deleted, mut held) = (Vec::new(), None);
        if run.state.has_artefact() {
            self.verify_targets(&mut run, &targets);
            if self.cancel.is_cancelled() {
                held = Some("nothing is deleted: the run was stopped before its copies were verified".into());
            } else {
                (deleted, held) = self.retain(&targets);
            }
        }
        // The board has its own copy of the manifest; the journal reads it from the destinations.
        let mut short = run.clone();
        short.manifest = None;
        self.remember(&Record::Ended(Box::new(short)), &mut run.warnings);
        Ok(Report { run, deleted, held })
    }

    /// Takes away what a run that was cut off has left in the destinations, and closes its row.
    ///
    /// For a start: the job's next run would do the same, but that may be a day away.
    pub fn clean_up(&self) {
        let Ok(Ok(_lock)) = self.state.lock_job(&self.spec.name, clock::now()) else { return };
        let remembered = self.state.remembered();
        let history = history::load(self.state, &remembered, self.host, self.spec);
        for named in &self.spec.destinations {
            let known_id = history::known_id(&remembered, &self.spec.name, named);
            let swept = named
                .destination
                .open_existing(known_id)
                .and_then(|place| artefact::sweep(place.as_ref(), &self.spec.name));
            if let Err(error) = swept {
                tracing::warn!("backup job `{}`: could not clean up `{}`: {error}", self.spec.name, named.name);
                return;
            }
        }
        self.close_cut_off(&remembered, &history);
    }

    /// The lock is ours, so whatever is still open in the journal was cut off.
    fn close_cut_off(&self, remembered: &Remembered, history: &History) {
        for cut in history.runs.iter().filter(|it| remembered.begun.contains_key(&it.id)) {
            let mut cut = cut.clone();
            if !cut.state.has_artefact() {
                cut.state = RunState::Interrupted;
                cut.error = Some(CUT_OFF.into());
            }
            self.remember(&Record::Ended(Box::new(cut)), &mut Vec::new());
        }
    }

    /// Leaves a row that says who was at the job; one per slot, however often the slot is tried.
    fn remember_skipped(&self, slot: Option<Timestamp>, now: Timestamp, holder: &str) {
        let job = JobId::new(self.host, &self.spec.name);
        let name = match slot {
            Some(slot) => format!("{}@{}-skipped", self.spec.name, slot.strftime("%Y%m%dT%H%M%SZ")),
            None => run_name(&self.spec.name, now),
        };
        let id = RunId::new(self.host, &name);
        if slot.is_some() && self.state.remembered().ended.contains_key(&id) {
            return;
        }
        let row = Run::skipped(id, job, slot, now, &format!("held on `{}` by {holder}", self.host));
        self.remember(&Record::Ended(Box::new(row)), &mut Vec::new());
    }

    /// A journal that cannot be written does not stop a backup: the manifests are the truth.
    fn remember(&self, record: &Record, warnings: &mut Vec<String>) {
        if let Err(error) = self.state.append(record) {
            let warning = format!("could not write the history: {error}");
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }

    fn open_targets(&self, remembered: &Remembered, warnings: &mut Vec<String>) -> Vec<Target<'_>> {
        let mut targets = Vec::new();
        for named in &self.spec.destinations {
            let known_id = history::known_id(remembered, &self.spec.name, named);
            let place = named.destination.open(known_id).and_then(|place| {
                artefact::sweep(place.as_ref(), &self.spec.name)?;
                Ok(place)
            });
            if let (Ok(place), None) = (&place, known_id) {
                let location = named.destination.location();
                let id = place.id().to_string();
                self.remember(&Record::Marker { job: self.spec.name.clone(), location, id }, warnings);
            }
            let place = place
                .map_err(|error| format!("could not open `{}`: {}", named.destination.location(), io_text(&error)));
            targets.push(Target { named, place });
        }
        targets
    }

    fn store(
        &self,
        run: &mut Run,
        targets: &mut [Target<'_>],
        last_stored: Option<u64>,
        began: std::time::Instant,
        warnings: &mut Vec<String>,
    ) -> Result<(), End> {
        if targets.iter().all(|it| it.place.is_err()) {
            run.copies = targets.iter().map(|it| it.failed_copy()).collect();
            return Err(End::Failed(self.all_failed(targets)));
        }
        // Only some sources need one: those that do not are copied also when there is no room for it.
        let scratch = self.state.scratch(&self.spec.name);
        let scratch_path = self.state.scratch_path(&self.spec.name);
        let id = run.id.clone();
        let told = Cell::new(None);
        let progress = |progress: Progress| {
            let now = clock::monotonic();
            if told.get().is_none_or(|it| now.duration_since(it) >= PROGRESS_EVERY) {
                told.set(Some(now));
                (self.observe)(Observed::Progress(&id, progress));
            }
        };
        let scratch = scratch.as_ref().map(|it| it.path());
        let cx = SourceContext { scratch, scratch_path: &scratch_path, cancel: self.cancel, progress: &progress };
        for read in 1.. {
            let mut opened = self.spec.source.open(&cx).map_err(End::from)?;
            let artefact = free_name(targets, &self.spec.name, run.started, &opened.extension).map_err(End::Failed)?;
            let sums = self.pass(&mut opened, &artefact, targets, last_stored, &progress);
            let sums = sums.inspect_err(|_| remove_partials(targets, &artefact))?;
            let consistency =
                opened.reader.finish().map_err(End::from).inspect_err(|_| remove_partials(targets, &artefact))?;
            if consistency == Consistency::Changed && read < READS_MAX {
                remove_partials(targets, &artefact);
                continue;
            }
            let consistent = consistency == Consistency::Consistent;
            if !consistent {
                warnings.push(format!("`{}` changed during each of {READS_MAX} reads", self.spec.source.describe()));
            }
            let manifest = self.manifest(run, &opened, artefact, sums, consistent, began);
            for target in targets.iter_mut() {
                if let Ok(place) = &target.place
                    && let Err(error) = artefact::commit(place.as_ref(), &manifest)
                {
                    target.place = Err(format!("could not commit: {}", io_text(&error)));
                }
            }
            return self.stored(run, manifest, targets);
        }
        Ok(())
    }

    /// Writes the source to every target that can be written to.
    fn pass(
        &self,
        opened: &mut Opened,
        artefact: &str,
        targets: &mut [Target<'_>],
        last_stored: Option<u64>,
        progress: &dyn Fn(Progress),
    ) -> Result<PassSums, End> {
        let mut fan = FanOut::default();
        for (index, target) in targets.iter_mut().enumerate() {
            let Ok(place) = &target.place else { continue };
            match place.create_new(&format!("{artefact}{PARTIAL}")) {
                Ok(file) => fan.push(index, file),
                Err(error) => target.place = Err(format!("could not write: {}", io_text(&error))),
            }
        }
        let total_bytes = opened.size_bytes;
        let mut read_bytes = 0;
        let result = pass::run(&mut opened.reader, self.spec.level, &mut fan, self.cancel, &mut |done_bytes| {
            read_bytes = done_bytes;
            progress(Progress { stage: Stage::Storing, done_bytes, total_bytes });
        });
        // What was expected to be written, for the words about a full disk: an upper bound when nothing is known.
        let needed = last_stored.or(total_bytes).unwrap_or_default();
        let written = if result.is_ok() { fan.finish() } else { fan.abandon() };
        for (index, written) in written {
            let (Err(error), Ok(place)) = (written, &targets[index].place) else { continue };
            // First out of the way, so that the free bytes are those a run would have.
            let _ = place.remove(&format!("{artefact}{PARTIAL}"));
            targets[index].place = Err(write_error(place.as_ref(), &error, needed));
        }
        match result {
            Ok(_) if targets.iter().all(|it| it.place.is_err()) => Err(End::Failed(self.all_failed(targets))),
            Ok(sums) => Ok(sums),
            Err(PassError::Cancelled) => Err(End::Cancelled),
            Err(PassError::Read(error)) => {
                Err(End::Failed(format!("could not read `{}`: {}", self.spec.source.describe(), io_text(&error))))
            }
            Err(PassError::Write(error)) => {
                let all = targets.iter().all(|it| it.place.is_err());
                Err(End::Failed(if all { self.all_failed(targets) } else { io_text(&error) }))
            }
        }
    }

    fn manifest(
        &self,
        run: &Run,
        opened: &Opened,
        artefact: String,
        sums: PassSums,
        consistent: bool,
        began: std::time::Instant,
    ) -> Manifest {
        Manifest {
            schema: SCHEMA,
            written_by: format!("hotseat {}", env!("CARGO_PKG_VERSION")),
            job: self.spec.name.clone(),
            run: run.id.clone(),
            host: self.host.to_string(),
            started: run.started,
            ended: clock::now(),
            duration_ms: elapsed_ms(began),
            slot: run.slot,
            consistent_at: opened.consistent_at,
            source_kind: opened.kind.to_string(),
            source: self.spec.source.describe(),
            source_version: opened.version.clone(),
            consistency: if consistent {
                opened.consistency.clone()
            } else {
                "the source changed while it was read".into()
            },
            consistent,
            restore_commands: restore_commands(&self.spec.name, &artefact, &opened.extension, opened.kind, &sums),
            artefact,
            raw_bytes: sums.raw_bytes,
            stored_bytes: sums.stored_bytes,
            sha256_raw: sums.sha256_raw,
            sha256_stored: sums.sha256_stored,
        }
    }

    /// Fills the row after the commit.
    fn stored(&self, run: &mut Run, manifest: Manifest, targets: &[Target<'_>]) -> Result<(), End> {
        let copies = targets.iter().map(|target| match &target.place {
            Ok(_) => CopyRow {
                destination: target.named.name.clone(),
                location: format!("{}/{}", target.named.destination.location(), manifest.artefact),
                state: CopyState::Stored,
            },
            Err(_) => target.failed_copy(),
        });
        run.copies = copies.collect();
        let failed = targets.iter().filter(|it| it.place.is_err()).count();
        if failed == targets.len() {
            return Err(End::Failed(self.all_failed(targets)));
        }
        run.state = match (manifest.consistent, failed) {
            (false, _) => RunState::Inconsistent,
            (true, 0) => RunState::Ok,
            (true, _) => RunState::Partial,
        };
        if failed > 0 {
            run.error = Some(self.all_failed(targets));
        }
        run.consistent_at = Some(manifest.consistent_at);
        run.duration_ms = Some(manifest.duration_ms);
        run.raw_bytes = Some(manifest.raw_bytes);
        run.stored_bytes = Some(manifest.stored_bytes);
        run.manifest = Some(Box::new(manifest));
        Ok(())
    }

    /// The reasons of the destinations that failed, in one line.
    fn all_failed(&self, targets: &[Target<'_>]) -> String {
        let why =
            |target: &Target<'_>| target.place.as_ref().err().map(|error| format!("`{}`: {error}", target.named.name));
        targets.iter().filter_map(why).collect::<Vec<_>>().join("; ")
    }

    fn verify_targets(&self, run: &mut Run, targets: &[Target<'_>]) {
        let Some(manifest) = run.manifest.clone() else { return };
        for target in targets {
            let Ok(place) = &target.place else { continue };
            let state = verify_copy(self, &run.id, place.as_ref(), &manifest);
            if let (Some(state), Some(copy)) = (state, run.copy_mut(&target.named.name)) {
                copy.state = state;
            }
            if let Err(error) = artefact::write_sums(place.as_ref()) {
                run.warnings.push(format!("could not write SHA256SUMS in `{}`: {error}", target.named.name));
            }
        }
    }

    /// Deletes what the retention lets go, destination by destination, from what is on disk now.
    fn retain(&self, targets: &[Target<'_>]) -> (Vec<(String, Vec<RunId>)>, Option<String>) {
        let (mut deleted, mut held) = (Vec::new(), None);
        let Some(keep) = &self.spec.keep else { return (deleted, held) };
        for target in targets {
            let Ok(place) = &target.place else { continue };
            let name = &target.named.name;
            let found = match artefact::list(place.as_ref(), &self.spec.name) {
                Ok(found) => found,
                Err(error) => {
                    held = Some(format!("`{name}`: nothing is deleted: {error}"));
                    continue;
                }
            };
            let copies: Vec<(KeptCopy, String)> = found.into_iter().filter_map(kept_copy).collect();
            let plain: Vec<KeptCopy> = copies.iter().map(|(copy, _)| copy.clone()).collect();
            let plan = match retention::plan(keep, &self.spec.zone(), &plain, clock::now()) {
                Ok(plan) => plan,
                Err(hold) => {
                    held = Some(format!("`{name}`: {}", hold.text()));
                    continue;
                }
            };
            let mut gone = Vec::new();
            for (copy, artefact) in copies.iter().filter(|(copy, _)| plan.contains(&copy.run)) {
                // Written before the deletion: a copy that is remembered as deleted and is still there is only
                // listed again.
                self.remember(&Record::Deleted { destination: name.clone(), run: copy.run.clone() }, &mut Vec::new());
                match artefact::delete(place.as_ref(), artefact) {
                    Ok(()) => gone.push(copy.run.clone()),
                    Err(error) => held = Some(format!("`{name}`: could not delete `{artefact}`: {error}")),
                }
            }
            if !gone.is_empty() {
                if let Err(error) = artefact::write_sums(place.as_ref()) {
                    held = Some(format!("`{name}`: could not write SHA256SUMS: {error}"));
                }
                deleted.push((name.clone(), gone));
            }
        }
        (deleted, held)
    }

    /// Reads every copy of a run back and gives its row as it is then.
    ///
    /// # Errors
    /// When the job is running, or the run is not known.
    pub fn verify(&self, run: &RunId) -> Result<Run, Refusal> {
        let lock = self.state.lock_job(&self.spec.name, clock::now());
        let lock = lock.map_err(|error| Refusal::State(format!("could not use the state directory: {error}")))?;
        let _lock = lock.map_err(Refusal::Busy)?;
        let remembered = self.state.remembered();
        let history = history::load(self.state, &remembered, self.host, self.spec);
        let Some(mut row) = history.runs.into_iter().find(|it| it.id == *run) else {
            return Err(Refusal::State(format!("run `{}` is not known any more", run.name())));
        };
        let Some(manifest) = row.manifest.clone() else { return Ok(row) };
        for named in &self.spec.destinations {
            let Some(copy) = row.copy_mut(&named.name) else { continue };
            if matches!(copy.state, CopyState::Failed { .. }) {
                continue;
            }
            let known_id = history::known_id(&remembered, &self.spec.name, named);
            match named.destination.open_existing(known_id) {
                Ok(place) => {
                    if let Some(state) = verify_copy(self, run, place.as_ref(), &manifest) {
                        copy.state = state;
                    }
                }
                Err(error) => copy.state = CopyState::Missing { error: io_text(&error) },
            }
        }
        Ok(row)
    }
}

/// Why there is no artefact.
enum End {
    Cancelled,
    Failed(String),
}

impl From<SourceError> for End {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Cancelled => End::Cancelled,
            SourceError::Failed(why) => End::Failed(why),
        }
    }
}

fn kept_copy(found: artefact::Found) -> Option<(KeptCopy, String)> {
    // A damaged manifest says nothing that could be trusted: its files are left to a person.
    let manifest = found.manifest.ok()?;
    let verified = manifest.consistent && matches!(found.state, CopyState::Verified { .. });
    Some((KeptCopy { run: manifest.run, started: manifest.started, verified }, found.artefact))
}

/// Reads a copy back and remembers the verdict beside it; `None` when told to stop.
fn verify_copy(runner: &Runner<'_>, run: &RunId, place: &dyn Place, manifest: &Manifest) -> Option<CopyState> {
    let mut told = clock::monotonic();
    let mut progress = |done_bytes| {
        let now = clock::monotonic();
        if now.duration_since(told) >= PROGRESS_EVERY {
            told = now;
            let total_bytes = Some(manifest.raw_bytes);
            (runner.observe)(Observed::Progress(run, Progress { stage: Stage::Verifying, done_bytes, total_bytes }));
        }
    };
    let verdict = artefact::verify(place, manifest, runner.cancel, &mut progress);
    let now = clock::now();
    let marked = artefact::mark(place, manifest, &verdict, now);
    steps::reached("marked");
    match (verdict, marked) {
        (Verdict::Cancelled, _) => None,
        (Verdict::Whole, Ok(())) => Some(CopyState::Verified { at: now }),
        // Whole, but nobody will know tomorrow: the retention must not count on it.
        (Verdict::Whole, Err(_)) => Some(CopyState::Stored),
        (Verdict::Corrupt(error), _) => Some(CopyState::Corrupt { error }),
        (Verdict::Missing(error), _) => Some(CopyState::Missing { error }),
    }
}

fn run_name(job: &str, started: Timestamp) -> String {
    let random: String = std::iter::repeat_with(|| fastrand::char('a'..='z')).take(4).collect();
    format!("{job}@{}-{random}", started.strftime("%Y%m%dT%H%M%SZ"))
}

fn elapsed_ms(began: std::time::Instant) -> u64 {
    u64::try_from(clock::monotonic().duration_since(began).as_millis()).unwrap_or(u64::MAX)
}

/// Shell lines that restore the artefact in its folder with plain tools, into a new file.
fn restore_commands(job: &str, artefact: &str, extension: &str, kind: &str, sums: &PassSums) -> Vec<String> {
    let (artefact, target) = (shell_quote(artefact), shell_quote(&format!("{job}.restored.{extension}")));
    let mut commands = vec![
        "umask 077".to_string(),
        format!("echo '{}  {artefact}' | sha256sum -c -", sums.sha256_stored),
        format!("zstd -dc {artefact} > {target}"),
        format!("echo '{}  {target}' | sha256sum -c -", sums.sha256_raw),
    ];
    if kind == "sqlite" {
        commands.push(format!("sqlite3 {target} 'pragma integrity_check'"));
    }
    commands
}
