//! Plays a scenario: moves the services through its phases, has the logs written, does what its people do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::demo::scenario::{Action, ActionKind, Scenario};
use crate::demo::service::Services;
use crate::demo::writer::{LogWriter, OrdersDatabase};
use crate::domain::board::Board;
use crate::domain::ids::{HostId, IncidentId, JobId};
use crate::domain::incident::{DeclareRequest, IncidentChange, NoteRequest, Severity, Status};
use crate::domain::request::{Inbound, Request};
use crate::runtime::Link;

/// Real time between two steps: four log batches a second look alive and cost nothing.
const STEP: Duration = Duration::from_millis(250);
/// Pace of the probes at speed 1; the script's delays are made for it.
const INTERVAL_MS: u64 = 2_000;
/// Pace of the probes at any speed: a command probe costs a process each time.
const INTERVAL_MIN_MS: u64 = 250;
/// Saved queries of the demo's config.
const QUERIES: [(&str, &str); 3] =
    [("5xx", "status>=500 -/healthz/"), ("errors", "level>=error"), ("stuck", "/timeout|slow|exhausted/")];
/// What a service depends on: where that is down, it alone is told.
const AFTER: [(&str, &str); 3] = [("api", "storage"), ("login", "api"), ("edge", "api")];
/// Where pages go, beside the other logs.
const PAGES: &str = "pages.log";
/// How long a page waits for others at speed 1: the first round of the probes that fail together.
const WAIT_MS: f64 = 4_000.0;
/// How long the demo's silence holds: longer than anybody watches.
const SILENCED_FOR: SignedDuration = SignedDuration::from_hours(12);
/// Orders that come in a second of scenario time.
const ORDERS_PER_SECOND: f64 = 3.0;
/// Orders added in one step at most, whatever the speed.
const STEP_ORDERS_MAX: f64 = 50.0;
/// The name of the demo's backup job.
pub const JOB: &str = "orders-db";

/// Everything a demo stands on, in one temporary directory.
pub struct Stage {
    /// The directory.
    pub root: PathBuf,
    /// State directory for the runtime.
    pub state_dir: PathBuf,
    /// The config file.
    pub config: PathBuf,
    scenario: Scenario,
    services: Services,
    writer: LogWriter,
    database: OrdersDatabase,
    speed: f64,
}

impl Stage {
    /// Starts the services and creates logs, database and config below `root`.
    ///
    /// # Errors
    /// In words: what could not be made, where, and why.
    pub async fn build(root: &Path, speed: f64, cancel: &CancellationToken) -> Result<Self, String> {
        let scenario = Scenario::parse(crate::demo::scenario::STORAGE_OUTAGE)?;
        let logs = root.join("logs");
        let state_dir = root.join("state");
        let backups = root.join("backups");
        for directory in [&logs, &state_dir, &backups] {
            make_directory(directory).map_err(|error| format!("could not make `{}`: {error}", directory.display()))?;
        }
        let services = Services::start(&scenario.service, interval_ms(speed) as f64 / INTERVAL_MS as f64, cancel)
            .await
            .map_err(|error| format!("could not listen on loopback: {error}"))?;
        let in_words = |error| format!("could not create the logs in `{}`: {error}", logs.display());
        let mut writer = LogWriter::create(&logs, &scenario, clock::zone()).map_err(in_words)?;
        writer.write_history(&scenario, clock::now()).map_err(in_words)?;
        let database_path = root.join("orders.db");
        let database = OrdersDatabase::create(&database_path)
            .map_err(|error| format!("could not create `{}`: {error}", database_path.display()))?;
        let config = root.join("config.toml");
        let text = config_text(&scenario, &services.addresses, root, speed, clock::now());
        std::fs::write(&config, text).map_err(|error| format!("could not write `{}`: {error}", config.display()))?;
        Ok(Self { root: root.to_path_buf(), state_dir, config, scenario, services, writer, database, speed })
    }

    /// Plays rounds until cancelled. `link` is how the demo's people reach the runtime, as a screen would.
    ///
    /// # Errors
    /// In words, when the logs or the database can no longer be written.
    pub async fn play(mut self, link: Link, host: HostId, cancel: CancellationToken) -> Result<(), String> {
        let mut people = People { link, host, board: Board::default(), declared: Declared::Nothing };
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = clock::monotonic();
        let mut at = Duration::ZERO;
        let mut phase = String::new();
        let mut orders_owed = 0.0;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                inbound = people.link.facts_rx.recv() => {
                    let Some(inbound) = inbound else { return Ok(()) };
                    people.see(inbound);
                    continue;
                }
                _ = ticks.tick() => {}
            }
            let elapsed = last.elapsed().min(STEP * 4);
            last = clock::monotonic();
            let step = elapsed.mul_f64(self.speed);
            let before = at;
            at += step;
            if at >= self.scenario.length {
                self.act(&mut people, before, self.scenario.length)?;
                at = at.saturating_sub(self.scenario.length).min(STEP);
                self.act(&mut people, Duration::ZERO, at)?;
            } else {
                self.act(&mut people, before, at)?;
            }
            let now_phase = self.scenario.phase_at(at);
            if now_phase.name != phase {
                phase.clone_from(&now_phase.name);
                self.services.apply(&self.scenario.service, &now_phase.service);
            }
            self.writer
                .write(&self.scenario, &phase, step, clock::now())
                .map_err(|error| format!("could not write the demo's logs: {error}"))?;
            orders_owed = (orders_owed + step.as_secs_f64() * ORDERS_PER_SECOND).min(STEP_ORDERS_MAX);
            while orders_owed >= 1.0 {
                orders_owed -= 1.0;
                self.database
                    .add_order(clock::now())
                    .map_err(|error| format!("could not write the demo's database: {error}"))?;
            }
        }
    }

    /// Does what is due in `from..to` of the round.
    fn act(&mut self, people: &mut People, from: Duration, to: Duration) -> Result<(), String> {
        let due: Vec<Action> = self.scenario.action.iter().filter(|it| it.at >= from && it.at < to).cloned().collect();
        for action in due {
            match action.what {
                ActionKind::Rotate(name) => {
                    self.writer.rotate(&name).map_err(|error| format!("could not rotate `{name}`: {error}"))?;
                }
                what => people.act(what),
            }
        }
        Ok(())
    }
}

/// What the demo's people know and whether they have declared an incident this round.
struct People {
    link: Link,
    host: HostId,
    board: Board,
    declared: Declared,
}

/// The incident of this round.
enum Declared {
    Nothing,
    /// Asked for; the incidents that were open before.
    Asked(Vec<IncidentId>),
    Incident(IncidentId),
}

impl People {
    fn see(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Snapshot(board) => self.board = *board,
            Inbound::Fact(envelope) => {
                let now: Timestamp = envelope.at;
                // The runtime carries out the effects; this is only a reader's copy.
                let _ = self.board.apply(now, &envelope);
            }
            _ => return,
        }
        if let Declared::Asked(before) = &self.declared
            && let Some(incident) = self.board.incidents.open().into_iter().find(|it| !before.contains(it))
        {
            self.declared = Declared::Incident(incident);
        }
    }

    fn act(&mut self, what: ActionKind) {
        let request = match (what, &self.declared) {
            (ActionKind::Rotate(_), _) => return,
            (ActionKind::Backup, _) => Request::RunBackup(JobId::new(&self.host, JOB)),
            (ActionKind::Declare { title, severity }, _) => {
                let open = self.board.incidents.open();
                if !open.is_empty() {
                    return;
                }
                self.declared = Declared::Asked(open);
                Request::Declare(DeclareRequest { title, severity: severity_of(severity), impact_start: None })
            }
            (ActionKind::Note(text), Declared::Incident(incident)) => Request::Note(NoteRequest {
                incident: Some(incident.clone()),
                at: None,
                text: format!("[demo] {text}"),
            }),
            (ActionKind::ActionTaken(text), Declared::Incident(incident)) => {
                Request::ChangeIncident(incident.clone(), IncidentChange::ActionTaken(text))
            }
            (ActionKind::Resolve, Declared::Incident(incident)) => {
                let request = Request::ChangeIncident(incident.clone(), IncidentChange::Status(Status::Resolved));
                self.declared = Declared::Nothing;
                request
            }
            (ActionKind::Note(_) | ActionKind::ActionTaken(_) | ActionKind::Resolve, _) => return,
        };
        // A full queue means that the runtime is busy with the person's own requests: those go first.
        let _ = self.link.requests_tx.try_send(request);
    }
}

fn severity_of(number: u8) -> Severity {
    match number {
        1 => Severity::Sev1,
        2 => Severity::Sev2,
        3 => Severity::Sev3,
        _ => Severity::Sev4,
    }
}

/// The config that the screen is opened with: an ordinary one.
fn config_text(
    scenario: &Scenario,
    addresses: &BTreeMap<String, SocketAddr>,
    root: &Path,
    speed: f64,
    now: Timestamp,
) -> String {
    let interval_ms = interval_ms(speed);
    let (timeout_ms, slow_ms) = (interval_ms * 3 / 4, interval_ms / 4);
    let mut text = String::from("# The config of a demo, written by `hotseat demo`\n");
    let _ = writeln!(
        text,
        "\n[defaults]\ninterval = \"{interval_ms}ms\"\nretry = \"{interval_ms}ms\"\ntimeout = \"{timeout_ms}ms\"\nfail = \"2/3\"\nrecover = \"2/2\"\nnotify = [\"page\"]"
    );
    for service in &scenario.service {
        let Some(address) = addresses.get(&service.name) else { continue };
        if service.name == "storage" {
            let _ = writeln!(text, "\n[[probe]]\nname = \"storage\"\ntcp = \"{address}\"\ngroup = \"platform\"");
        } else {
            let _ = writeln!(
                text,
                "\n[[probe]]\nname = {}\nhttp = \"http://{address}/health\"\nexpect = [\"status == 200\"]\nprefer = [\"total < {slow_ms}ms\"]",
                quoted(&service.name)
            );
            let _ = writeln!(text, "group = \"web\"\nslo = \"99.9% / 30d\"");
            if let Some((_, parent)) = AFTER.iter().find(|(name, _)| *name == service.name) {
                let _ = writeln!(text, "after = [{}]", quoted(parent));
            }
        }
    }
    let _ = writeln!(
        text,
        "\n[[probe]]\nname = \"disk\"\ncommand = [\"df\", \"-P\", {}]\ngroup = \"platform\"",
        quoted_path(root)
    );
    text.push_str(&alerts_text(root, speed, now));
    for file in scenario.files() {
        let name = file.split('.').next().unwrap_or(file);
        let path = root.join("logs").join(file);
        let _ = writeln!(text, "\n[[log]]\nname = {}\nfile = {}\nhistory = true", quoted(name), quoted_path(&path));
    }
    for (name, query) in QUERIES {
        let _ = writeln!(text, "\n[[query]]\nname = {}\nquery = {}", quoted(name), quoted(query));
    }
    let _ = writeln!(
        text,
        "\n[[backup]]\nname = \"{JOB}\"\nsqlite = {}\nat = \"daily 01:00\"\nto = {}\nkeep = {{ last = 7 }}",
        quoted_path(&root.join("orders.db")),
        quoted_path(&root.join("backups"))
    );
    text
}

/// Who is told, and of what not: pages go into a log of their own, where they stand beside what led to them.
fn alerts_text(root: &Path, speed: f64, now: Timestamp) -> String {
    let pages = quoted_path(&root.join("logs").join(PAGES));
    let wait_ms = (WAIT_MS / speed).max(0.0) as u64;
    let until = now.checked_add(SILENCED_FOR).unwrap_or(now);
    format!(
        "\n[[notifier]]\nname = \"pager\"\ncommand = [\"tee\", \"-a\", {pages}]\nwait = \"{wait_ms}ms\"\nremind = [\"1m\"]\n\
         \n[[notifier]]\nname = \"bell\"\nterminal = \"bell\"\nwait = \"{wait_ms}ms\"\nleast = \"critical\"\n\
         \n[[person]]\nname = \"alice\"\nnotify = [\"pager\", \"bell\"]\n\
         \n[[person]]\nname = \"bob\"\nnotify = [\"pager\"]\n\
         \n[[rotation]]\nname = \"primary\"\npeople = [\"alice\", \"bob\"]\nevery = \"1w\"\nhandover = \"mon 09:00\"\n\
         \n[[ladder]]\nname = \"page\"\nsteps = [{{ notify = [\"primary\"] }}, {{ after = \"15m\", notify = [\"bob\"] }}]\n\
         \n[[silence]]\nname = \"slow search\"\nmatch = [\"probe=search\", \"concern=degraded\"]\nuntil = \"{until}\"\n\
         comment = \"the index is rebuilt\"\n\
         \n[[maintenance]]\nname = \"sunday patching\"\nmatch = [\"group=platform\"]\nat = \"0 2 * * SUN\"\nlength = \"2h\"\n\
         \n[[log]]\nname = \"pages\"\nfile = {pages}\n"
    )
}

fn interval_ms(speed: f64) -> u64 {
    ((INTERVAL_MS as f64 / speed) as u64).clamp(INTERVAL_MIN_MS, INTERVAL_MS)
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn make_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenario::STORAGE_OUTAGE;

    #[test]
    fn the_config_of_the_demo_is_accepted() {
        let scenario = Scenario::parse(STORAGE_OUTAGE).unwrap();
        let addresses = scenario.service.iter().map(|it| (it.name.clone(), "127.0.0.1:9".parse().unwrap())).collect();
        let text = config_text(&scenario, &addresses, Path::new("/tmp/with \"quotes\""), 1.0, Timestamp::UNIX_EPOCH);
        let (config, errors) = crate::config::parse("config.toml", &text);
        assert_eq!(errors, []);
        assert_eq!((config.probes.len(), config.logs.len(), config.backups.len()), (6, 5, 1));
        assert_eq!((config.notifiers.len(), config.alerts.silences.len(), config.alerts.maintenances.len()), (2, 1, 1));
        let ids: Vec<_> = config
            .probes
            .iter()
            .map(|it| (crate::domain::ids::ProbeId::new(&HostId::new("h"), &it.name), it.setup()))
            .collect();
        let plan = crate::domain::alert::plan::Plan::new(
            Timestamp::UNIX_EPOCH,
            &config.alerts,
            &[],
            ids.iter().map(|(id, it)| (id, it)),
        );
        assert!(plan.is_sound(), "{plan:?}");
    }
}
