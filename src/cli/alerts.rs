//! `hotseat alerts`: what is the matter, who was told of it, and what is not sent yet.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Context, past};
use crate::clock;
use crate::domain::alert::delivery::{Action, DeliveryState};
use crate::domain::alert::policy::alert::{Alert, Naming, Stage};
use crate::domain::board::Board;
use crate::domain::{format, sanitise};
use crate::store::outbox::Kept;
use crate::store::reader::Reader;

/// Show open alerts, who was told, and what is not sent yet
///
/// Whoever watches the state directory is asked; where nobody does its files are.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Show open alerts, who was told, and what is not sent yet.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let now = clock::now();
    let watched = past::watched(cx, None, out)?.map(|(board, _)| *board);
    let is_watched = watched.is_some();
    let board = match watched {
        Some(board) => Some(board),
        None => past::board_at(cx, now, out)?,
    };
    let waiting = Reader::new(&cx.state_dir(), None).waiting().map_err(|error| {
        Failure::internal("could not read what is not sent yet")
            .caused_by(error)
            .hint("check the state directory with `hotseat doctor`")
    })?;
    if board.is_none() && !args.json {
        writeln!(out.stderr, "no hotseat has run with this state directory: {}", cx.state_dir().display())?;
    }
    let board = board.unwrap_or_default();
    let unsent = if is_watched { unsent(&board, &waiting) } else { waiting.iter().map(UnsentView::new).collect() };
    let view = View::new(now, &board, unsent);
    let is_told_later = !view.alerts.is_empty() || !view.unsent.is_empty();
    if !is_watched && is_told_later {
        writeln!(
            out.stderr,
            "nobody watches: this is as of the last watch, and nobody is told before `hotseat agent` or a screen runs"
        )?;
    }
    if args.json {
        out.json(&view)?;
    } else {
        out.stdout.write_all(view.text(&clock::zone()).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct View {
    at: Timestamp,
    alerts: Vec<AlertView>,
    unsent: Vec<UnsentView>,
    notifiers: Vec<NotifierView>,
}

#[derive(Debug, Serialize)]
struct AlertView {
    key: String,
    name: String,
    concern: &'static str,
    severity: &'static str,
    since: Timestamp,
    why: String,
    /// Probes that share the cause; empty for an alert of one probe.
    children: Vec<String>,
    /// The key of the common cause that it is told with.
    told_with: Option<String>,
    acknowledged_by: Option<String>,
    /// When the acknowledgement ends by itself.
    acknowledged_until: Option<Timestamp>,
    /// What holds it back.
    held_back: Option<String>,
    /// Notifiers that have taken a message about it.
    told: Vec<ToldView>,
    /// Notifiers to which the first message about it is under way.
    sending: Vec<String>,
    /// Notifiers that refuse it: it is tried again seldom.
    refused_by: Vec<String>,
    /// Notifiers that are about to be told for the first time: they wait for more of the kind, or for their limit.
    about_to_tell: Vec<String>,
    /// Names of people, rotations, ladders and notifiers that the config has it told by.
    notify: Vec<String>,
    /// Why nobody was told so far, in words; none when somebody was, or when it is told with another.
    untold: Option<String>,
}

#[derive(Debug, Serialize)]
struct ToldView {
    notifier: String,
    /// When it took the last.
    at: Timestamp,
    /// What becomes of the name, for which the message had no room: `follows`, `at` when it was taken, or `cut`; none
    /// where it had.
    naming: Option<Naming>,
}

#[derive(Debug, Serialize)]
struct UnsentView {
    id: String,
    key: String,
    notifier: String,
    action: &'static str,
    at: Timestamp,
    title: String,
    attempts: u32,
    next: Option<Timestamp>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct NotifierView {
    notifier: String,
    well: bool,
    failures: u32,
    error: Option<String>,
    sent_at: Option<Timestamp>,
}

impl View {
    fn new(now: Timestamp, board: &Board, unsent: Vec<UnsentView>) -> Self {
        let name_of = |key: &String| board.alerts.alert(key).map_or_else(|| key.clone(), Alert::name);
        let refused = board.alerts.refused();
        let is_refused =
            |key: &String, name: &String| refused.iter().any(|it| it.notifier == *name && it.keys.contains(key));
        let untaken = |it: &Alert, refused: bool| -> Vec<String> {
            let contacts = it.contacts.iter();
            let of_it = contacts.filter(|(_, it)| it.stage != Stage::Waiting && it.is_told && !it.reached);
            of_it.map(|(name, _)| name.clone()).filter(|name| is_refused(&it.key, name) == refused).collect()
        };
        let alert = |it: &Alert| AlertView {
            key: it.key.clone(),
            name: it.name(),
            concern: it.concern().word(),
            severity: it.severity.word(),
            since: it.since,
            why: sanitise::text(&it.why),
            children: it.children().iter().map(name_of).collect(),
            told_with: it.common.clone(),
            acknowledged_by: it.acked.as_ref().map(|it| it.by.clone()),
            acknowledged_until: it.acked.as_ref().and_then(|it| it.until),
            held_back: it.withheld.as_ref().map(|it| {
                let until = it.until.map_or_else(String::new, |it| format!(" until {it:.0}"));
                format!("{}{until}", it.why.text())
            }),
            told: it
                .contacts
                .iter()
                .filter(|(_, it)| it.reached)
                .map(|(name, it)| ToldView {
                    notifier: name.clone(),
                    at: it.taken.unwrap_or(it.last),
                    naming: it.naming,
                })
                .collect(),
            sending: untaken(it, false),
            refused_by: untaken(it, true),
            about_to_tell: it
                .contacts
                .iter()
                .filter(|(_, it)| it.stage == Stage::Waiting && !it.is_told && !it.reached)
                .map(|(name, _)| name.clone())
                .collect(),
            notify: it.notify.clone(),
            untold: {
                let is_told = it.contacts.values().any(|it| it.is_told || it.reached);
                let says = !is_told && it.common.is_none() && it.withheld.is_none() && it.acked.is_none();
                says.then(|| sanitise::text(&board.alerts.untold(it, &board.probes)))
            },
        };
        let mut alerts: Vec<AlertView> = board.alerts.alerts().filter(|it| it.ended.is_none()).map(alert).collect();
        alerts.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.key.cmp(&b.key)));
        let notifiers = board.alerts.notifiers().iter().map(|(name, it)| NotifierView {
            notifier: name.clone(),
            well: it.is_well(),
            failures: it.failures,
            error: it.error.clone().filter(|_| !it.is_well()),
            sent_at: it.sent_at,
        });
        Self { at: now, alerts, unsent, notifiers: notifiers.collect() }
    }

    fn text(&self, zone: &TimeZone) -> String {
        let mut text = String::new();
        let moment = |at: Timestamp| format::moment(self.at, at, zone);
        let open = self.alerts.iter().filter(|it| it.told_with.is_none());
        if self.alerts.is_empty() {
            text.push_str("ALERTS none open\n");
        } else {
            text.push_str("ALERTS\n");
        }
        for it in open {
            let lasted = format::age(format::since(self.at, it.since));
            let _ =
                write!(text, "{:<8}  {}  {} since {} ({lasted})", it.severity, it.name, it.concern, moment(it.since));
            if !it.why.is_empty() {
                let _ = write!(text, ": {}", format::local_times(&it.why, self.at, zone));
            }
            text.push('\n');
            let told = it.told.iter().map(|it| {
                let naming = it.naming.map(|it| it.text(moment)).unwrap_or_default();
                format!("{} {}{naming}", it.notifier, moment(it.at))
            });
            let told: Vec<String> = told.collect();
            let mut parts = Vec::new();
            if !told.is_empty() {
                parts.push(format!("told {}", told.join(", ")));
            }
            if !it.sending.is_empty() {
                parts.push(format!("sending to {}", it.sending.join(", ")));
            }
            if !it.refused_by.is_empty() {
                parts.push(format!("refused by {}, see below", it.refused_by.join(", ")));
            }
            let until = it.acknowledged_until.map_or_else(String::new, |it| format!(" until {}", moment(it)));
            parts.extend(it.acknowledged_by.as_ref().map(|by| format!("acknowledged by {by}{until}")));
            parts.extend(it.held_back.as_ref().map(|why| format!("held back: {why}")));
            parts.extend(it.untold.clone());
            let _ = writeln!(text, "          {}", format::local_times(&parts.join(", "), self.at, zone));
            if !it.children.is_empty() {
                let _ = writeln!(text, "          {}: {}", it.children.len(), it.children.join(", "));
            }
        }
        if !self.unsent.is_empty() {
            text.push_str("\nNOT SENT YET\n");
        }
        for it in &self.unsent {
            let tried = match (it.attempts, &it.error) {
                (0, _) => String::new(),
                (attempts, None) => format!(", attempt {attempts} is under way"),
                (attempts, Some(error)) => format!(", {} failed: {error}", format::plural(attempts.into(), "attempt")),
            };
            let next = it.next.map_or_else(String::new, |at| format!(", next at {}", moment(at)));
            let _ = writeln!(text, "{}  {} since {}{tried}{next}", it.notifier, it.action, moment(it.at));
            let _ = writeln!(text, "          {}", it.title);
        }
        let ill: Vec<&NotifierView> = self.notifiers.iter().filter(|it| !it.well).collect();
        if !ill.is_empty() {
            text.push_str("\nNOTIFIERS IN TROUBLE\n");
        }
        for it in ill {
            let error = it.error.as_deref().unwrap_or("no reason given");
            let _ =
                writeln!(text, "{}  {}: {error}", it.notifier, format::plural(it.failures.into(), "failed attempt"));
        }
        text
    }
}

/// What is not sent yet as whoever watches has it in memory, which is newer than the store and all there is on a full
/// disk. The store adds how often it was tried, and tests, which are not the policy's.
fn unsent(board: &Board, waiting: &[Kept]) -> Vec<UnsentView> {
    let kept = |id: &str| waiting.iter().find(|it| it.delivery.id == id).map(UnsentView::new);
    let of_memory = board.alerts.outs().iter().map(|(id, out)| {
        let of_disk = kept(id);
        let failed = out.error.is_some();
        UnsentView {
            id: id.clone(),
            key: out.keys.first().cloned().unwrap_or_default(),
            notifier: out.notifier.clone(),
            action: out.action.word(),
            at: out.at,
            title: sanitise::text(&out.title),
            // One that failed was tried at least once, whatever the disk has taken.
            attempts: of_disk.as_ref().map_or(0, |it| it.attempts).max(u32::from(failed)),
            next: out.next,
            error: out.error.clone(),
        }
    });
    let tests = waiting.iter().filter(|it| it.delivery.action == Action::Test).map(UnsentView::new);
    let mut all: Vec<UnsentView> = of_memory.chain(tests).collect();
    all.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.id.cmp(&b.id)));
    all
}

impl UnsentView {
    fn new(kept: &Kept) -> Self {
        let (attempts, next, error) = match &kept.state {
            DeliveryState::Sending { attempt } => (*attempt, None, None),
            DeliveryState::Retrying { attempt, next, error, .. } => (*attempt, Some(*next), Some(error.clone())),
            _ => (0, None, None),
        };
        let delivery = &kept.delivery;
        Self {
            id: delivery.id.clone(),
            key: delivery.key.clone(),
            notifier: delivery.notifier.clone(),
            action: delivery.action.word(),
            at: delivery.at,
            title: sanitise::text(&delivery.message.title),
            attempts,
            next,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::alert::AlertFact;
    use crate::domain::alert::delivery::DeliveryNews;
    use crate::domain::alert::explain::ExplainRequest;
    use crate::domain::alert::quiet::{Maintenance, MaintenanceWindow, Silence};
    use crate::domain::effect::Effect;
    use crate::domain::fact::{Actor, Envelope, Fact};
    use crate::domain::ids::{HostId, ProbeId};
    use crate::domain::probe::ProbeFact;
    use crate::domain::probe::outcome::{Cause, Evidence, Outcome, Phases, ProbeResult, Trouble};

    #[test]
    fn a_refused_page_is_not_said_to_be_on_its_way() {
        let text = "[[notifier]]\nname = 'hook'\nwebhook = 'http://127.0.0.1:1/'\nwait = '0s'\n\
                    [[probe]]\nname = 'api'\ntcp = '127.0.0.1:1'\nfail = '1/1'\nnotify = ['hook']\n";
        let (config, errors) = crate::config::parse("c.toml", text);
        assert!(errors.is_empty(), "{errors:?}");
        let (host, now) = (HostId::new("h"), Timestamp::from_second(1_800_000_000).expect("a time"));
        let probe = ProbeId::new(&host, "api");
        let mut board = Board::default();
        let mut fold = |fact| {
            let envelope = Envelope { host: host.clone(), seq: board.seq + 1, at: now, actor: Actor::Runtime, fact };
            board.apply(now, &envelope)
        };
        fold(Fact::Alert(AlertFact::Configured { rules: Box::new(config.alerts.clone()) }));
        fold(Fact::Probe(ProbeFact::Configured { probe: probe.clone(), setup: config.probes[0].setup() }));
        let outcome = Box::new(Outcome {
            at: now,
            result: ProbeResult::Fail,
            phases: Phases::default(),
            trouble: Some(Trouble::new(Cause::Refused, "refused", "nothing listens there")),
            evidence: Evidence::default(),
            lag: Duration::ZERO,
            latency_suspect: false,
        });
        let effects = fold(Fact::Probe(ProbeFact::Outcome { probe, outcome, next: None }));
        let mut sent = effects.into_iter().filter_map(|it| if let Effect::Commit(it) = it { Some(it) } else { None });
        let page = sent.next().and_then(|it| it.deliveries.into_iter().next()).expect("a page");
        let state = DeliveryState::Retrying { attempt: 1, next: now, error: "403".into(), refused: true };
        let (id, key, notifier, action) = (page.id, page.key, page.notifier, page.action);
        let news = DeliveryNews { id, key, notifier, action, at: now, state, durable: true };
        fold(Fact::Alert(AlertFact::Delivery(Box::new(news))));
        let listed = unsent(&board, &[]);
        let seen: Vec<_> = listed.iter().map(|it| (it.attempts, it.next, it.error.as_deref())).collect();
        assert_eq!(seen, [(1, Some(now), Some("403"))], "also when the disk has none of it");
        let text = View::new(now, &board, listed).text(&TimeZone::UTC);
        assert!(text.contains("NOT SENT YET\nhook  trigger since 08:00:00, 1 attempt failed: 403, next at"), "{text}");
        assert!(text.contains("refused by hook, see below") && !text.contains("sending to"), "{text}");
        // A silence hides neither whom it was offered to nor who has it.
        let mut view = View::new(now, &board, Vec::new());
        view.alerts[0].held_back = Some("silenced by `deploy`".into());
        view.alerts[0].acknowledged_by = Some("alice".into());
        view.alerts[0].acknowledged_until = Some(now);
        let text = view.text(&TimeZone::UTC);
        let said = "refused by hook, see below, acknowledged by alice until 08:00:00, held back: silenced by `deploy`";
        assert!(text.contains(said), "{text}");
    }

    /// A board that goes by a config, in virtual time, with notifiers that do not answer.
    struct Desk {
        host: HostId,
        now: Timestamp,
        board: Board,
    }

    impl Desk {
        fn new(text: &str) -> Self {
            let (config, errors) = crate::config::parse("c.toml", text);
            assert!(errors.is_empty(), "{errors:?}");
            let now = Timestamp::from_second(1_800_000_000).expect("a time");
            let mut desk = Self { host: HostId::new("h"), now, board: Board::default() };
            desk.fold(Fact::Alert(AlertFact::Configured { rules: Box::new(config.alerts.clone()) }));
            for spec in &config.probes {
                let (probe, setup) = (desk.probe(&spec.name), spec.setup());
                desk.fold(Fact::Probe(ProbeFact::Configured { probe, setup }));
            }
            desk
        }

        fn probe(&self, name: &str) -> ProbeId {
            ProbeId::new(&self.host, name)
        }

        fn fold(&mut self, fact: Fact) {
            let (host, seq) = (self.host.clone(), self.board.seq + 1);
            self.board.apply(self.now, &Envelope { host, seq, at: self.now, actor: Actor::Runtime, fact });
        }

        /// Fails now, and a second passes.
        fn fail(&mut self, name: &str) {
            let outcome = Box::new(Outcome {
                at: self.now,
                result: ProbeResult::Fail,
                phases: Phases::default(),
                trouble: Some(Trouble::new(Cause::Refused, "refused", "nothing listens there")),
                evidence: Evidence::default(),
                lag: Duration::ZERO,
                latency_suspect: false,
            });
            self.fold(Fact::Probe(ProbeFact::Outcome { probe: self.probe(name), outcome, next: None }));
            let until = self.now + jiff::SignedDuration::from_secs(1);
            while let Some(wake) = self.board.alerts.next_wake().filter(|it| *it <= until) {
                self.now = wake.max(self.now);
                self.fold(Fact::Alert(AlertFact::Tick { at: self.now }));
            }
            self.now = until;
        }

        /// What `hotseat alerts` says below the alert of a probe, and how `hotseat explain` begins.
        fn said(&self, name: &str) -> (String, String) {
            let text = View::new(self.now, &self.board, Vec::new()).text(&TimeZone::UTC);
            let head = format!("  {name}  down since ");
            let below = text.lines().skip_while(|it| !it.contains(&head)).nth(1).unwrap_or_default();
            let request = ExplainRequest { probe: self.probe(name), at: None };
            let verdict = self.board.alerts.explain(self.now, &self.board.probes, &request).verdict;
            (below.trim().to_string(), format::local_times(&verdict, self.now, &TimeZone::UTC))
        }
    }

    #[test]
    fn why_nobody_was_told_is_said_in_words_that_name_what_to_change_or_to_wait_for() {
        let hook = |keys: &str| format!("[[notifier]]\nname = 'hook'\nwebhook = 'http://127.0.0.1:1/'\n{keys}\n");
        let probe = |name: &str, keys: &str| {
            format!("[[probe]]\nname = '{name}'\ntcp = '{name}.example:1'\nfail = '1/1'\nrecover = '1/1'\n{keys}\n")
        };
        let told = |name: &str| probe(name, "notify = ['hook']");
        let late = "[[ladder]]\nname = 'page'\nsteps = [{ after = '5m', notify = ['hook'] }]\n";
        let storm: String = ["a", "b", "c", "api"].map(told).concat();
        let nothing: &dyn Fn(&mut Desk) = &|_| {};
        let silence: &dyn Fn(&mut Desk) = &|desk| {
            let until = desk.now + jiff::SignedDuration::from_hours(1);
            let matchers = vec!["probe=api".parse().expect("a matcher")];
            let (id, by, comment) = ("deploy".into(), "bob".into(), String::new());
            let silence = Silence { id, matchers, from: desk.now, until, by, comment };
            desk.fold(Fact::Alert(AlertFact::Silenced(silence)));
        };
        let maintain: &dyn Fn(&mut Desk) = &|desk| {
            let until = desk.now + jiff::SignedDuration::from_hours(1);
            let window = MaintenanceWindow::Once { from: desk.now, until };
            let matchers = vec!["probe=api".parse().expect("a matcher")];
            let maintenance = Maintenance { name: "patching".into(), matchers, window, by: "bob".into() };
            desk.fold(Fact::Alert(AlertFact::Maintained(maintenance)));
        };
        let acknowledge: &dyn Fn(&mut Desk) = &|desk| {
            let (probe, at) = (desk.probe("api"), desk.now);
            desk.fold(Fact::Probe(ProbeFact::Acknowledged { probe, by: "alice".into(), at }));
        };
        let three: &dyn Fn(&mut Desk) = &|desk| ["a", "b", "c"].iter().for_each(|it| desk.fail(it));
        let one: &dyn Fn(&mut Desk) = &|desk| desk.fail("a");
        let pace = "what comes after 3 alerts in a minute is told once a minute";
        let limit = "`limit` lets 1 message through in 10m";
        for (config, before, after, alerts, explained) in [
            (
                probe("api", ""),
                nothing,
                nothing,
                "told nobody: the config has no `[[notifier]]`",
                "not paged: nobody is told: the config has no `[[notifier]]`",
            ),
            (
                hook("") + &probe("api", "notify = []"),
                nothing,
                nothing,
                "told nobody: `notify = []` says that nobody is to be told",
                "not paged: nobody is told: `notify = []` says that nobody is to be told",
            ),
            (
                hook("") + &probe("api", ""),
                nothing,
                nothing,
                "told nobody: `notify` is set neither at the probe nor in `[defaults]`",
                "not paged: nobody is told: `notify` is set neither at the probe nor in `[defaults]`",
            ),
            (
                hook("") + &told("api"),
                silence,
                nothing,
                "held back: silenced by `deploy` until 09:00:00",
                "not paged: held back: silenced by `deploy`",
            ),
            (
                hook("") + &told("api"),
                maintain,
                nothing,
                "held back: maintenance `patching` until 09:00:00",
                "not paged: held back: maintenance `patching`",
            ),
            (
                hook("") + &told("api"),
                nothing,
                acknowledge,
                "acknowledged by alice",
                "not paged: acknowledged by alice",
            ),
            (
                hook("") + &told("a") + &probe("api", "notify = ['hook']\nafter = ['a']"),
                one,
                nothing,
                "held back: `a`, which it depends on, is down and is told instead",
                "not paged: held back: `a`, which it depends on, is down and is told instead",
            ),
            (
                hook("") + &told("api"),
                nothing,
                nothing,
                "hook is told at 08:00:10, with what comes until then",
                "not paged yet: it waits for others to join it",
            ),
            (
                hook("wait = '0s'") + &storm,
                three,
                nothing,
                &format!("hook is told at 08:01:02, held until then: {pace}"),
                &format!("not paged: held until 08:01:02: trigger to `hook`: {pace}"),
            ),
            (
                hook("wait = '0s'\nlimit = '1 / 10m'") + &storm,
                one,
                nothing,
                &format!("hook is told at 08:10:00, held until then: {limit}"),
                &format!("not paged: held until 08:10:00: trigger to `hook`: {limit}"),
            ),
            (
                hook("") + late + &probe("api", "notify = ['page']"),
                nothing,
                nothing,
                "told nobody: step 1 of ladder `page`, hook, comes at 08:05:00",
                "not paged yet: step 1 of ladder `page`, hook, comes at 08:05:00",
            ),
        ] {
            let mut desk = Desk::new(&config);
            before(&mut desk);
            desk.fail("api");
            after(&mut desk);
            assert_eq!(desk.said("api"), (alerts.to_string(), explained.to_string()), "{config}");
        }
    }
}
