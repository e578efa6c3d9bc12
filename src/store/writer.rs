//! The one thread that writes: batches outcomes, commits alerts at once, tries again what failed.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::clock;
use crate::domain::fact::Restored;
use crate::domain::ids::HostId;
use crate::store::database::{self, Database, PAGE_BYTES, StoreError};
use crate::store::pending::{Mirror, Pending};
use crate::store::rollup::{self, Chore, Limits, Marks};
use crate::store::samples::{self, Known};
use crate::store::{News, NewsSink, Opened, Shared, alerts, apart, file_system, outbox, renamed};

/// Outcomes wait this long for others: each transaction wakes an idle host and its disk. What a kill may cost of the
/// history is no more than that; what alerts know does not wait.
const BATCH: Duration = Duration::from_secs(3);
/// What could not be said yet is tried again no more often than this.
const SPEAK: Duration = Duration::from_secs(1);
/// How often a disk that failed is asked again.
const RETRY: Duration = Duration::from_secs(5);
/// How long another process may hold the file while it is known that it does.
const BUSY_WAIT_FAILING: Duration = Duration::from_millis(50);
/// How often old outcomes are summed up.
const ROLL_EVERY: Duration = Duration::from_secs(300);
/// How often it is looked whether the file is still there and what can go.
const CARE_EVERY: Duration = Duration::from_secs(60);
/// Probes whose old rows are dropped in one go: a commit waits behind them for a few milliseconds.
const CHORES_AT_ONCE: usize = 32;
/// Free pages given back in one go.
const VACUUM_PAGES: i64 = 256;

/// When something is to be done again.
struct Due {
    batch: Option<Instant>,
    roll: Instant,
    care: Instant,
    retry: Instant,
    /// When the loop last went round.
    checked: Instant,
}

impl Due {
    fn new(now: Instant) -> Self {
        Self { batch: None, roll: now, care: now + CARE_EVERY, retry: now, checked: now }
    }
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) state_dir: PathBuf,
    /// What this host is called; `None` when whatever was kept stays as it is.
    pub(super) host: Option<HostId>,
    pub(super) limits: Limits,
    pub(super) news: NewsSink,
    pub(super) database: Option<Database>,
    pub(super) known: Known,
    pub(super) mirror: Mirror,
    /// Why nothing is written, once that was said.
    pub(super) failing: Option<String>,
    /// Since when nothing is written.
    pub(super) since: Option<Timestamp>,
    /// What an earlier run left is known, as far as it can be.
    pub(super) is_read: bool,
    /// What could not be said yet, because nobody had room.
    pub(super) unsaid: VecDeque<News>,
    pub(super) chores: VecDeque<Chore>,
}

impl Writer {
    /// Opens the file and says what it held. Where that cannot be done because its disk takes nothing, what it holds is
    /// read all the same, and the writer goes on from memory.
    pub(super) fn open(&mut self) -> Opened {
        match self.open_database() {
            Ok(opened) => {
                self.take_over(&opened);
                self.say_remote();
                self.look_for_room();
                opened
            }
            Err(error) => {
                let opened = self.read_apart();
                if let Some(opened) = &opened {
                    self.take_over(opened);
                }
                self.fail(&error);
                // Whoever numbers what is new must know that there may be older numbers.
                let unread =
                    || Opened { restored: Restored { lost: true, ..Restored::default() }, ..Opened::default() };
                opened.unwrap_or_else(unread)
            }
        }
    }

    /// Begins with what a file held.
    fn take_over(&mut self, opened: &Opened) {
        self.is_read = true;
        self.mirror = Mirror::new(opened.restored.alerts.clone(), opened.deliveries.clone());
    }

    /// Reads the file of a disk that takes nothing; `None` when it cannot be read.
    fn read_apart(&self) -> Option<Opened> {
        let read = match database::open_to_read(&self.state_dir) {
            Ok(Some(opened)) => read(&opened.connection).map_err(|error| error.to_string()),
            Ok(None) => Ok(Opened::default()),
            Err(error) => Err(error.to_string()),
        };
        read.inspect_err(|error| tracing::error!("what an earlier run kept cannot be read: {error}")).ok()
    }

    pub(super) fn run(mut self, wake_rx: &Receiver<()>) {
        let mut due = Due::new(clock::monotonic());
        loop {
            let woken = match self.next_due(&due) {
                Some(next) => wake_rx.recv_timeout(next.saturating_duration_since(clock::monotonic())),
                None => wake_rx.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let closing = matches!(woken, Err(RecvTimeoutError::Disconnected));
            let now = clock::monotonic();
            let (empty, urgent) = self.shared.look();
            if !empty {
                due.batch.get_or_insert(now + BATCH);
            }
            let retry = self.failing.is_some() && now >= due.retry;
            let batch = self.failing.is_none() && due.batch.is_some_and(|it| now >= it);
            if urgent || closing || retry || batch {
                // Where outcomes come steadily they wake nobody: it is looked for them again after as long.
                let flows = self.shared.keep_looking(!closing);
                self.flush();
                due.batch = flows.then_some(now + BATCH);
                if retry {
                    due.retry = now + RETRY;
                }
            }
            self.speak();
            if closing {
                return;
            }
            if self.failing.is_none() && self.database.is_some() {
                self.tend_to(&mut due, now);
            }
        }
    }

    /// When there is something to do without being woken; `None` when there is not.
    fn next_due(&self, due: &Due) -> Option<Instant> {
        let works = self.failing.is_none();
        let retry = (!works || !self.unsaid.is_empty()).then_some(due.retry.max(due.checked + SPEAK));
        let batch = due.batch.filter(|_| works);
        let chores = (works && !self.chores.is_empty()).then_some(due.checked);
        // Where nothing is written nothing is to be summed up, and a screen without probes must not wake up.
        let care = (works && self.shared.is_used()).then_some(due.roll.min(due.care));
        [retry, batch, chores, care].into_iter().flatten().min()
    }

    fn tend_to(&mut self, due: &mut Due, now: Instant) {
        due.checked = now;
        if !self.shared.is_used() {
            return;
        }
        if now >= due.roll {
            due.roll = now + ROLL_EVERY;
            self.tend(|connection| rollup::roll(connection, clock::now().as_second()));
        }
        if now >= due.care {
            due.care = now + CARE_EVERY;
            self.care();
        }
        self.chores();
    }

    fn open_database(&mut self) -> Result<Opened, StoreError> {
        let has_lost = database::lost_its_log(&self.state_dir);
        let (database, mut opened) = match self.open_and_read() {
            Err(StoreError::Damaged { path, error }) => {
                // Most of a file is history, and most damage is there: what alerts know may still be readable.
                let salvaged = self.salvage();
                let database = self.replace(&path, &error.to_string())?;
                self.mirror = Mirror::new(salvaged.restored.alerts.clone(), salvaged.deliveries.clone());
                (database, salvaged)
            }
            other => other?,
        };
        self.known = Known::default();
        self.database = Some(database);
        if has_lost {
            opened.restored.lost = true;
            self.unsaid.push_back(News::Damaged(format!(
                "the log of `{}` (`{}-wal`) is gone: what an earlier run wrote last is lost",
                self.state_dir.join(database::FILE_NAME).display(),
                database::FILE_NAME
            )));
        }
        if opened.restored.lost {
            // What was saved out of a damaged file is in no file now.
            let all = self.mirror.all();
            self.write_open(&all)?;
        }
        Ok(opened)
    }

    fn open_and_read(&self) -> Result<(Database, Opened), StoreError> {
        let mut database = Database::open(&self.state_dir)?;
        let opened = self.set_ceiling(&database.connection).and_then(|()| {
            if let Some(host) = &self.host {
                renamed::follow(&mut database.connection, host)?;
            }
            read(&database.connection)
        });
        match opened {
            Ok(opened) => Ok((database, opened)),
            Err(error) => Err(StoreError::of(&database.path, error)),
        }
    }

    /// Reads what can be read of a damaged file.
    fn salvage(&self) -> Opened {
        let mut saved = Opened { restored: Restored { lost: true, ..Restored::default() }, ..Opened::default() };
        let Ok(connection) = apart::open(&self.state_dir.join(database::FILE_NAME)) else { return saved };
        // Each by itself, and of each as much as comes before the damage.
        let _ = alerts::read_into(&connection, &mut saved.restored.alerts);
        let _ = outbox::open_into(&connection, &mut saved.deliveries);
        saved.restored.probes = samples::restore(&connection).unwrap_or_default();
        saved.restored.glimpses = samples::glimpses(&connection).unwrap_or_default();
        saved.lasting = outbox::lasting(&connection).unwrap_or_default();
        saved.settled = outbox::settled(&connection).unwrap_or_default();
        saved
    }

    fn set_ceiling(&self, connection: &Connection) -> rusqlite::Result<()> {
        let pages = (self.shared.file_max_bytes() / PAGE_BYTES).max(1);
        connection.pragma_update_and_check(None, "max_page_count", i64::try_from(pages).unwrap_or(i64::MAX), |_| Ok(()))
    }

    /// Moves a damaged file aside and makes a new one.
    fn replace(&mut self, path: &str, error: &str) -> Result<Database, StoreError> {
        let aside = database::move_aside(&self.state_dir, clock::now())
            .map_err(|error| StoreError::Io { path: path.to_string(), error })?;
        self.unsaid.push_back(News::Damaged(format!(
            "`{path}` was damaged ({error}): moved to `{}`, a new one begins",
            aside.display()
        )));
        self.known = Known::default();
        Database::open(&self.state_dir)
    }

    fn say_remote(&mut self) {
        let (name, kind) = file_system::of(&self.state_dir);
        if kind == file_system::Kind::Network {
            self.unsaid.push_back(News::NotDurable(Some(format!(
                "the state directory is on {name}: what is kept depends on the server there (set HOTSEAT_STATE_DIR to a local disk)"
            ))));
        }
    }

    /// Writes what waits; what cannot be written stays in memory.
    fn flush(&mut self) {
        let mut pending = self.shared.take();
        if pending.is_empty() && self.failing.is_none() {
            return;
        }
        let mut result = self.write(&pending);
        // Damaged or gone: a new file takes everything that is known, and then this.
        if let Err(StoreError::Damaged { path, error }) = &result {
            let (path, error) = (path.clone(), error.to_string());
            self.database = None;
            result = self.replace(&path, &error).and_then(|database| {
                self.database = Some(database);
                // What the old file held comes before what is new.
                pending.put_back(self.mirror.all());
                self.write(&pending)
            });
        }
        let done = std::mem::take(&mut pending.done);
        match result {
            Ok(()) => {
                self.mirror.follow(&pending);
                self.shared.settle(None);
                self.since = None;
                if self.failing.take().is_some() {
                    self.unsaid.push_back(News::NotDurable(None));
                    self.say_remote();
                    self.speak();
                }
            }
            Err(error) => {
                self.shared.settle(Some(pending));
                self.fail(&error);
            }
        }
        let durable = self.failing.is_none();
        for done in done {
            done(durable);
        }
    }

    fn write(&mut self, pending: &Pending) -> Result<(), StoreError> {
        if self.database.is_none() {
            let opened = self.open_database()?;
            if !self.is_read {
                // The program went on without it meanwhile: what it does not know yet comes to it now.
                self.take_over(&opened);
                self.unsaid.push_back(News::Late(Box::new(opened)));
            }
            let all = self.mirror.all();
            self.write_open(&all)?;
        }
        self.write_open(pending)
    }

    fn write_open(&mut self, pending: &Pending) -> Result<(), StoreError> {
        let Some(database) = &mut self.database else { return Ok(()) };
        let urgent = pending.is_urgent();
        let failing = self.failing.is_some();
        let pages = (self.shared.file_max_bytes() / PAGE_BYTES).max(1);
        let known = &mut self.known;
        let mut write = || {
            database.set_synchronous(urgent)?;
            if failing {
                database.connection.busy_timeout(BUSY_WAIT_FAILING)?;
                let pages = i64::try_from(pages).unwrap_or(i64::MAX);
                database.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            }
            let transaction = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write_all(&transaction, known, pending)?;
            if failing {
                // A transaction without a change asks nothing of the disk, and so says nothing of it.
                database::touch(&transaction)?;
            }
            transaction.commit()?;
            if failing {
                database.connection.busy_timeout(Duration::from_secs(1))?;
            }
            Ok(())
        };
        let result = write().map_err(|error| StoreError::of(&database.path, error));
        if result.is_err() {
            // Numbers of probes that were given in it are given no more.
            self.known = Known::default();
        }
        result
    }

    /// Says that the disk takes nothing although nothing is to be kept just now: when something is, it is too late to make
    /// room.
    fn look_for_room(&mut self) {
        if file_system::is_full(&self.state_dir)
            && let Err(error) = self.prove()
        {
            self.fail(&error);
        }
    }

    /// Writes what is there already, for nothing but to see whether the disk takes it.
    fn prove(&mut self) -> Result<(), StoreError> {
        let Some(database) = &mut self.database else { return Ok(()) };
        let mut prove = || {
            database.set_synchronous(true)?;
            let transaction = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            database::touch(&transaction)?;
            transaction.commit()
        };
        prove().map_err(|error| StoreError::of(&database.path, error))
    }

    fn fail(&mut self, error: &StoreError) {
        let since = *self.since.get_or_insert_with(clock::now);
        let before = if self.is_read { "" } else { "what was kept before cannot be read, and " };
        let why = format!("{error}; {before}what is new since {since:.0} is in memory only");
        if self.failing.as_ref() != Some(&why) {
            tracing::warn!("not durable: {why}");
            self.unsaid.push_back(News::NotDurable(Some(why.clone())));
            self.failing = Some(why);
        }
        self.speak();
    }

    /// Says what there is to say, in order, as far as there is room.
    fn speak(&mut self) {
        while let Some(news) = self.unsaid.front() {
            if !(self.news)(news) {
                return;
            }
            self.unsaid.pop_front();
        }
    }

    /// Does something that can as well be done later.
    fn tend(&mut self, what: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        let Some(database) = &mut self.database else { return };
        let path = database.path.clone();
        let tend = || {
            database.set_synchronous(false)?;
            let transaction = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            what(&transaction)?;
            transaction.commit()
        };
        if let Err(error) = tend() {
            // The next write says so as well, and mends what can be mended.
            tracing::warn!("could not tend the store: {}", StoreError::of(&path, error));
        }
    }

    /// Looks whether the file is in place and what can go.
    fn care(&mut self) {
        let Some(database) = &self.database else { return };
        if !database.is_in_place() {
            // Somebody removed or replaced it: what goes into the old one is lost with this process.
            self.database = None;
            self.known = Known::default();
            self.unsaid.push_back(News::Damaged("the store was removed from its place: a new one begins".into()));
            if let Err(error) = self.write(&Pending::default()) {
                self.fail(&error);
            }
            return;
        }
        self.look_for_room();
        if self.failing.is_some() {
            return;
        }
        if self.chores.is_empty() {
            let limits = self.limits;
            let mut planned = Vec::new();
            self.tend(|connection| {
                planned = rollup::plan(connection, &limits, clock::now().as_second())?;
                outbox::trim(connection)
            });
            self.chores.extend(planned);
        }
    }

    fn chores(&mut self) {
        if self.chores.is_empty() {
            return;
        }
        let some: Vec<Chore> = self.chores.drain(..CHORES_AT_ONCE.min(self.chores.len())).collect();
        self.tend(|connection| some.iter().try_for_each(|it| it.run(connection)));
        if let (true, Some(database)) = (self.chores.is_empty(), &self.database) {
            // Pages that are free are used again; given back are those that will not be soon.
            let given = database.connection.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"));
            if let Err(error) = given {
                tracing::debug!(%error, "could not shrink the store");
            }
        }
    }
}

/// Reads what a file keeps over a restart.
fn read(connection: &Connection) -> rusqlite::Result<Opened> {
    let (probes, alerts) = (samples::restore(connection)?, alerts::read(connection)?);
    let (glimpses, last_runs) = (samples::glimpses(connection)?, samples::last_runs(connection)?);
    let restored = Restored { probes, glimpses, last_runs, alerts, lost: false };
    let (deliveries, lasting) = (outbox::open(connection)?, outbox::lasting(connection)?);
    Ok(Opened { restored, deliveries, lasting, settled: outbox::settled(connection)? })
}

fn write_all(transaction: &Transaction<'_>, known: &mut Known, pending: &Pending) -> rusqlite::Result<()> {
    for (key, value) in &pending.rows {
        alerts::write(transaction, key, value.as_deref())?;
    }
    for delivery in &pending.deliveries {
        outbox::insert(transaction, delivery)?;
    }
    for (id, at) in &pending.superseded {
        outbox::supersede(transaction, id, *at)?;
    }
    for mark in &pending.marks {
        outbox::mark(transaction, mark)?;
        if let Some(attempt) = &mark.attempt {
            outbox::attempt(transaction, &mark.id, attempt)?;
        }
    }
    if pending.samples.is_empty() && pending.kept.is_empty() {
        return Ok(());
    }
    let marks = Marks::read(transaction)?;
    let mut newest = BTreeMap::new();
    for sample in &pending.samples {
        let probe = samples::insert(transaction, known, sample)?;
        if sample.outcome.at.as_second() < marks.rolled_minutes {
            rollup::roll_late(transaction, &marks, probe, sample.outcome.at.as_microsecond())?;
        }
        newest.insert(probe, (sample.outcome.at, &sample.kept));
    }
    for (probe, (at, kept)) in &pending.kept {
        let probe = known.number(transaction, probe)?;
        newest.entry(probe).or_insert((*at, kept));
    }
    for (probe, (at, kept)) in newest {
        samples::keep(transaction, probe, at, kept)?;
    }
    Ok(())
}
