//! The other people: who is here, what they have just done, where this screen looks, and what one that only reads
//! leaves alone.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::app::command::{Command, GlobalCommand};
use crate::app::effect::{Effect, Notice, Sheet};
use crate::app::model::Model;
use crate::app::several;
use crate::app::ways;
use crate::domain::alert::AlertFact;
use crate::domain::alert::quiet::{ACKNOWLEDGED, MAINTAINED, SILENCED};
use crate::domain::backup::BackupFact;
use crate::domain::fact::{Actor, Envelope, Fact, RuntimeFact};
use crate::domain::format;
use crate::domain::host::Way;
use crate::domain::ids::ProbeId;
use crate::domain::incident::IncidentFact;
use crate::domain::incident::entry::EntryBody;
use crate::domain::presence::{Here, Spot};
use crate::domain::probe::ProbeFact;
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::backups::BackupsCommand;
use crate::panes::incident::IncidentCommand;
use crate::panes::logs::LogsCommand;
use crate::panes::services::ServicesCommand;
use crate::panes::{PaneCommand, PaneId};

/// Shortest time between two words about where this screen looks: whoever steps through the panes passes most by.
const ATTEND_GAP: SignedDuration = SignedDuration::from_millis(250);
/// What was done longer ago is no news: it was read from the disk, or comes from a clock that is wrong.
const NEWS_S: i64 = 30;
/// What one person acknowledges within so long of the last is one act.
const SPREE_GAP: SignedDuration = SignedDuration::from_secs(1);
/// Longest name in the header.
const NAME_MAX_CHARS: usize = 20;
/// What a screen says that may change nothing.
const READ_ONLY: &str = "read-only: this screen changes nothing";

/// What was last said of where this screen looks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attention {
    said: Option<(Spot, Timestamp)>,
}

/// What somebody else acknowledges or takes back, one after the other: a key on a group says it of each of its probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spree {
    user: String,
    // It takes acknowledgements back.
    is_back: bool,
    probes: BTreeSet<ProbeId>,
    at: Timestamp,
}

/// Who is here, in the long and the short form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// `2 here: alice, bob(logs)`; who sits at this screen comes first.
    pub names: String,
    /// `2 here: alice, bob`.
    pub people: String,
    /// `2 here`.
    pub count: String,
}

impl Model {
    /// True when this screen looks and changes nothing, wherever it is attached.
    pub fn readonly(&self) -> bool {
        let attached = self.ways.values().filter_map(|way| match way {
            Way::Attached { readonly, .. } => Some(*readonly),
            Way::Connecting | Way::Inside | Way::Lost { .. } | Way::Refused { .. } => None,
        });
        let mut modes = attached.chain(self.you.values().map(|it| it.visitor.readonly)).peekable();
        modes.peek().is_some() && modes.all(|it| it)
    }

    /// True for the name of the person at this screen.
    pub fn is_my_name(&self, user: &str) -> bool {
        self.you.values().any(|it| it.visitor.user == user)
    }

    /// Who is here beside this screen; `None` when nobody is, and while nobody can be asked who is.
    pub fn company(&self) -> Option<Company> {
        if ways::as_of(self).is_some() {
            return None;
        }
        let mut people: Vec<(&str, Vec<&Here>)> = Vec::new();
        for (_, here) in self.board.presence.iter() {
            let user = here.visitor.user.as_str();
            match people.iter_mut().find(|(it, _)| *it == user) {
                Some((_, screens)) => screens.push(here),
                None => people.push((user, vec![here])),
            }
        }
        let named = |user: &str| sanitise::text(user).chars().take(NAME_MAX_CHARS).collect::<String>();
        if let [(user, screens)] = people.as_slice() {
            let count = format!("{} screens", screens.len());
            let names = format!("{count}: {}", named(user));
            return (screens.len() > 1).then(|| Company { people: names.clone(), names, count });
        }
        // Stable: the others stand in the order they came.
        people.sort_by_key(|(user, _)| !self.is_my_name(user));
        let words = people.iter().map(|(user, screens)| match screens.as_slice() {
            _ if self.is_my_name(user) => named(user),
            [Here { spot: Some(spot), .. }] => format!("{}({})", named(user), word(*spot)),
            [_] => named(user),
            many => format!("{} x{}", named(user), many.len()),
        });
        let names = words.collect::<Vec<_>>().join(", ");
        let count = format!("{} here", people.len());
        let short: Vec<String> = people.iter().map(|(user, _)| named(user)).collect();
        let short = format!("{count}: {}", short.join(", "));
        (!people.is_empty()).then(|| Company { names: format!("{count}: {names}"), people: short, count })
    }

    /// What somebody else has just done, in one line.
    pub(super) fn done_by_others(&mut self, envelope: &Envelope) -> Option<Effect> {
        let Actor::Person(user) = &envelope.actor else { return None };
        if self.is_my_name(user) || self.you.is_empty() {
            return None;
        }
        let clock = self.clock;
        let recent = |at: Timestamp| clock.duration_since(at).as_secs().abs() < NEWS_S;
        let text = match &envelope.fact {
            Fact::Probe(ProbeFact::Acknowledged { probe, at, .. }) if recent(*at) => {
                format!("acknowledged {}", self.on_spree(user, probe, false))
            }
            Fact::Alert(AlertFact::Acknowledged { probe, ack }) => {
                // Without an end the mark on the probe says it.
                let until = ack.until?;
                format!("acknowledged {} until {until:.0}", self.on_spree(user, probe, false))
            }
            Fact::Alert(AlertFact::Unacknowledged { probe, .. }) => {
                format!("took the acknowledgement of {} back", self.on_spree(user, probe, true))
            }
            Fact::Alert(AlertFact::Silenced(it)) => format!("silenced {} until {:.0}", it.what(), it.until),
            Fact::Alert(AlertFact::Unsilenced { .. }) => "ended a silence".to_string(),
            Fact::Alert(AlertFact::Maintained(it)) => format!("planned the maintenance `{}`", it.name),
            Fact::Alert(AlertFact::MaintenanceEnded { name, .. }) => format!("ended the maintenance `{name}`"),
            Fact::Backup(BackupFact::Started { run }) => format!("runs the backup `{}`", run.job.name()),
            Fact::Incident(IncidentFact::EntryAppended { incident, entry }) if recent(entry.rec) => {
                let name = incident.name();
                match &entry.body {
                    EntryBody::Declare(it) => format!("declared {} {}", it.severity, it.title),
                    EntryBody::Status { status } => format!("set {name} to {status}"),
                    EntryBody::Severity { severity } => format!("made {name} {severity}"),
                    _ => return None,
                }
            }
            Fact::Incident(IncidentFact::DocumentChanged { incident, .. }) => {
                format!("saved the document of {}", incident.name())
            }
            Fact::Runtime(RuntimeFact::ConfigLoaded { .. }) => "had the config read again".to_string(),
            _ => return None,
        };
        let text = format::local_times(&text, self.clock, &self.zone);
        Some(Notice::info(sanitise::text(&format!("{user} {text}"))))
    }

    /// What somebody has acknowledged, or taken back, with this probe, all within moments: `api`, or "12 in `pay`".
    fn on_spree(&mut self, user: &str, probe: &ProbeId, is_back: bool) -> String {
        let clock = self.clock;
        let goes_on = |it: &Spree| it.user == user && it.is_back == is_back && clock.duration_since(it.at) < SPREE_GAP;
        let mut spree = self.spree.take().filter(goes_on).unwrap_or_else(|| Spree {
            user: user.to_string(),
            is_back,
            probes: BTreeSet::new(),
            at: clock,
        });
        spree.at = clock;
        spree.probes.insert(probe.clone());
        let group = |it: &ProbeId| self.board.probes.get(it).and_then(|it| it.setup.rules.group.as_deref());
        let is_one_group = spree.probes.iter().all(|it| group(it) == group(probe));
        let words = match spree.probes.len() {
            1 => probe.name().to_string(),
            many => several::what(many, group(probe).filter(|_| is_one_group)),
        };
        self.spree = Some(spree);
        words
    }

    /// How what was just done is changed or ended, with the key for it; empty where there is nothing to undo.
    pub(super) fn undo(&self, said: &str) -> String {
        // Of several hosts their names stand before it.
        let is = |what: &str| said.starts_with(what) || said.contains(&format!(": {what} "));
        let (command, means) = if is(SILENCED) || is(MAINTAINED) {
            (Command::Pane(PaneCommand::Services(ServicesCommand::Quiets)), "in Services ends it")
        } else if is(ACKNOWLEDGED) {
            (Command::Global(GlobalCommand::Acknowledge), "on its row takes that back")
        } else {
            return String::new();
        };
        let key = self.keymap.label(command);
        key.map_or_else(String::new, |key| format!(", `{key}` {means}"))
    }

    /// Says where this screen looks when that is not known yet, at most a few times a second.
    pub(super) fn attend(&mut self) -> Option<Effect> {
        let due = self.attend_due()?;
        (due <= self.clock).then(|| {
            let spot = spot(self.focus);
            self.attention.said = Some((spot, self.clock));
            Effect::Request(Request::Attend(spot))
        })
    }

    /// When it is to be said where this screen looks; `None` when that is known, or there is nobody to say it to.
    pub(super) fn attend_due(&self) -> Option<Timestamp> {
        if self.you.is_empty() {
            return None;
        }
        match self.attention.said {
            None => Some(self.clock),
            Some((said, _)) if said == spot(self.focus) => None,
            Some((_, at)) => Some(at.checked_add(ATTEND_GAP).unwrap_or(at)),
        }
    }

    /// This screen is attached anew: nobody there knows where it looks.
    pub(super) fn forget_attention(&mut self) {
        self.attention = Attention::default();
    }

    /// What is said instead of a command that a screen must not begin which changes nothing.
    pub(super) fn refusal(&self, command: Command) -> Option<Effect> {
        if changes(command) && self.readonly() {
            return Some(Notice::warn(READ_ONLY));
        }
        // What only opens a form or a menu first is refused before somebody has filled it in.
        let opens_form = matches!(
            command,
            Command::Global(GlobalCommand::Declare)
                | Command::Pane(PaneCommand::Incident(IncidentCommand::Status | IncidentCommand::Severity))
        );
        (opens_form && self.past.at().is_some()).then(|| self.is_past())
    }

    /// What is let out instead of an effect that would change something from a screen that only reads.
    pub(super) fn withhold(&self, effect: &Effect) -> Option<Vec<Effect>> {
        let is_meant = |it: &Effect| matches!(it, Effect::Request(it) if it.changes());
        let is_refused = match effect {
            // Drafts are kept by themselves: there is nothing to say.
            Effect::Request(Request::SaveDraft { .. } | Request::SaveNoteDraft(_)) => {
                return self.readonly().then(Vec::new);
            }
            // What it may read it may keep: the file is written by this screen's own account, where it may write.
            Effect::Request(Request::Export(_) | Request::StopExport) => return None,
            Effect::Request(request) => request.changes(),
            Effect::Each { requests, .. } => requests.iter().any(Request::changes),
            Effect::Confirm { then, .. } => then.iter().any(is_meant),
            Effect::OpenEditor { .. } => true,
            Effect::Show(Sheet::Silence(_) | Sheet::Maintenance(_) | Sheet::Acknowledge(_)) => true,
            _ => false,
        };
        (is_refused && self.readonly()).then(|| vec![Notice::warn(READ_ONLY)])
    }
}

/// The word for what somebody looks at.
pub fn word(spot: Spot) -> &'static str {
    match spot {
        Spot::Services => PaneId::Services.name(),
        Spot::Logs => PaneId::Logs.name(),
        Spot::Backups => PaneId::Backups.name(),
        Spot::Incident => PaneId::Incident.name(),
    }
}

fn spot(pane: PaneId) -> Spot {
    match pane {
        PaneId::Services => Spot::Services,
        PaneId::Logs => Spot::Logs,
        PaneId::Backups => Spot::Backups,
        PaneId::Incident => Spot::Incident,
    }
}

/// True for a command that only changes something or opens a prompt to do so.
fn changes(command: Command) -> bool {
    match command {
        Command::Global(it) => matches!(
            it,
            GlobalCommand::Acknowledge
                | GlobalCommand::Note
                | GlobalCommand::Editor
                | GlobalCommand::Declare
                | GlobalCommand::Reload
        ),
        Command::Pane(PaneCommand::Services(it)) => matches!(
            it,
            ServicesCommand::RunNow
                | ServicesCommand::Burst
                | ServicesCommand::AcknowledgeFor
                | ServicesCommand::Silence
                | ServicesCommand::Maintain
        ),
        Command::Pane(PaneCommand::Logs(it)) => {
            matches!(it, LogsCommand::Pin | LogsCommand::PinComment)
        }
        Command::Pane(PaneCommand::Backups(it)) => matches!(it, BackupsCommand::Run | BackupsCommand::Verify),
        Command::Pane(PaneCommand::Incident(it)) => matches!(
            it,
            IncidentCommand::Status
                | IncidentCommand::Severity
                | IncidentCommand::Worse
                | IncidentCommand::Better
                | IncidentCommand::Retry
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::app::event::Event;
    use crate::app::model::Setup;
    use crate::domain::alert::Acknowledgement;
    use crate::domain::ids::{HostId, ProbeId};
    use crate::domain::key::Key;
    use crate::domain::presence::{PresenceFact, ScreenId, Visitor, You};
    use crate::domain::probe::health::Thresholds;
    use crate::domain::probe::{ProbeRules, ProbeSetup};
    use crate::domain::request::Inbound;
    use crate::theme::Theme;

    struct Desk {
        model: Model,
        now: Timestamp,
        seq: u64,
    }

    impl Desk {
        /// A screen of alice that is attached.
        fn new(readonly: bool) -> Self {
            let now = "2024-08-19T06:51:32Z".parse().unwrap();
            let setup = Setup {
                now,
                zone: TimeZone::UTC,
                size: (80, 24),
                themes: vec![Theme::mono()],
                theme: None,
                focus: PaneId::Services,
                keys: Vec::new(),
                mouse: false,
                problems: Vec::new(),
            };
            let mut desk = Self { model: Model::new(setup), now, seq: 0 };
            let visitor = Visitor { readonly, ..Visitor::inside("alice") };
            desk.came(1, &visitor);
            let you = You { host: HostId::new("h"), screen: ScreenId(1), visitor };
            let asked = desk.event(Event::Inbound(Inbound::You(Box::new(you))));
            assert_eq!(asked, [Effect::Request(Request::Attend(Spot::Services))]);
            desk
        }

        fn event(&mut self, event: Event) -> Vec<Effect> {
            self.model.update(self.now, event)
        }

        fn press(&mut self, key: char) -> Vec<Effect> {
            self.event(Event::Key(Key::plain(crate::domain::key::KeyCode::Char(key))))
        }

        fn fact(&mut self, by: &str, fact: Fact) -> Vec<Effect> {
            self.seq += 1;
            let actor = Actor::Person(by.to_string());
            let envelope = Envelope { host: HostId::new("h"), seq: self.seq, at: self.now, actor, fact };
            self.event(Event::Inbound(Inbound::Fact(Box::new(envelope))))
        }

        fn came(&mut self, screen: u64, visitor: &Visitor) {
            let fact = PresenceFact::Came { screen: ScreenId(screen), visitor: visitor.clone() };
            self.fact(&visitor.user, Fact::Presence(fact));
        }

        fn notice(&self) -> Option<&str> {
            self.model.notices.shown().map(|it| it.text.as_str())
        }

        fn names(&self) -> Option<String> {
            self.model.company().map(|it| it.names)
        }
    }

    #[test]
    fn others_are_named_with_what_they_look_at_and_nobody_while_alone() {
        let mut desk = Desk::new(false);
        assert_eq!(desk.names(), None);
        desk.came(2, &Visitor::inside("alice"));
        assert_eq!(desk.names().as_deref(), Some("2 screens: alice"));
        desk.fact("alice", Fact::Presence(PresenceFact::Went { screen: ScreenId(2) }));
        desk.came(3, &Visitor::inside("bob\u{1b}[2J"));
        desk.fact("bob", Fact::Presence(PresenceFact::Moved { screen: ScreenId(3), spot: Spot::Logs }));
        let names = desk.names().unwrap_or_default();
        assert!(names.starts_with("2 here: alice, bob") && names.ends_with("(logs)"), "{names}");
        assert!(!names.contains('\u{1b}'), "{names:?}");
        desk.came(4, &Visitor::inside("carol"));
        desk.came(5, &Visitor::inside("carol"));
        let company = desk.model.company().unwrap();
        assert!(company.names.ends_with(", carol x2"), "{}", company.names);
        assert_eq!(company.count, "3 here");
    }

    #[test]
    fn who_was_here_before_a_loss_is_not_said_to_be_here() {
        let mut desk = Desk::new(false);
        desk.came(2, &Visitor::inside("bob"));
        assert!(desk.names().is_some());
        let way = Way::Lost { since: desk.now, why: "closed".into(), retry_at: None, can_take_over: false, ends: None };
        let news = crate::domain::host::HostNews { host: HostId::new("h"), way };
        desk.event(Event::Inbound(Inbound::Host(Box::new(news))));
        assert_eq!(desk.names(), None);
    }

    #[test]
    fn what_others_do_is_said_and_what_oneself_does_is_not() {
        let mut desk = Desk::new(false);
        let probe = ProbeId::new(&HostId::new("h"), "api");
        let until = Some("2024-08-19T07:51:32Z".parse().unwrap());
        let ack = |by: &str| Acknowledgement { by: by.into(), at: desk.now, sticky: false, until };
        let facts = ["alice", "bob"].map(|by| (by, AlertFact::Acknowledged { probe: probe.clone(), ack: ack(by) }));
        let mut said = Vec::new();
        for (by, fact) in facts {
            desk.fact(by, Fact::Alert(fact));
            said.push(desk.notice().map(ToString::to_string));
        }
        assert_eq!(said, [None, Some("bob acknowledged api until 07:51:32".to_string())]);
    }

    fn configured(desk: &mut Desk, names: &[&str], group: &str) -> Vec<ProbeId> {
        let mut probes = Vec::new();
        for name in names {
            let probe = ProbeId::new(&HostId::new("h"), name);
            let setup = ProbeSetup {
                kind: "tcp".into(),
                target: "192.0.2.1:80".into(),
                interval: std::time::Duration::from_secs(15),
                retry: std::time::Duration::from_secs(5),
                timeout: std::time::Duration::from_secs(5),
                thresholds: Thresholds::default(),
                expect: Vec::new(),
                prefer: Vec::new(),
                rules: ProbeRules { group: Some(group.into()), ..ProbeRules::default() },
            };
            desk.fact("alice", Fact::Probe(ProbeFact::Configured { probe: probe.clone(), setup }));
            probes.push(probe);
        }
        probes
    }

    #[test]
    fn a_group_that_somebody_acknowledges_is_one_line() {
        let mut desk = Desk::new(false);
        let probes = configured(&mut desk, &["api", "cdn", "www"], "edge");
        let at = desk.now;
        for probe in &probes {
            let fact = ProbeFact::Acknowledged { probe: probe.clone(), by: "bob".into(), at };
            desk.fact("bob", Fact::Probe(fact));
        }
        assert_eq!(desk.notice(), Some("bob acknowledged 3 in `edge`"));
        desk.now += SPREE_GAP;
        let fact = ProbeFact::Acknowledged { probe: probes[0].clone(), by: "bob".into(), at };
        desk.fact("bob", Fact::Probe(fact));
        assert_eq!(desk.notice(), Some("bob acknowledged api"));
    }

    #[test]
    fn answers_to_one_key_are_one_line_and_those_that_do_not_come_are_counted() {
        let mut desk = Desk::new(false);
        let probes = configured(&mut desk, &["api", "cdn", "www"], "edge");
        let requests: Vec<Request> = probes.iter().cloned().map(Request::AcknowledgeProbe).collect();
        let done = |name: &str| Event::Inbound(Inbound::Done(format!("acknowledged `{name}` until it is up")));
        desk.model.ask_several(&requests, "3 in `edge`");
        for name in ["api", "www"] {
            desk.event(done(name));
            assert_eq!(desk.notice(), None);
        }
        desk.event(done("cdn"));
        let said = desk.notice().unwrap_or_default();
        assert_eq!(said, "acknowledged 3 in `edge` until each is up, `a` on its row takes that back");
        desk.model.notices.dismiss();
        desk.model.ask_several(&requests, "3 in `edge`");
        desk.event(done("api"));
        desk.event(done("storage"));
        assert_eq!(desk.notice(), Some("acknowledged `storage` until it is up, `a` on its row takes that back"));
        let due = desk.model.several_due().unwrap();
        assert!(desk.model.next_wake(desk.now).is_some_and(|it| it <= due));
        desk.now = due;
        desk.event(Event::Wake);
        assert_eq!(desk.notice(), Some("acknowledged 1 of 3 in `edge`: nothing was heard of the others"));
    }

    #[test]
    fn where_a_screen_looks_is_said_once_it_has_settled() {
        let mut desk = Desk::new(false);
        assert_eq!(desk.press('2'), [], "a moment ago it said something else");
        assert_eq!(desk.press('4'), []);
        desk.now += ATTEND_GAP;
        assert_eq!(desk.model.next_wake(desk.now), Some(desk.now));
        assert_eq!(desk.event(Event::Wake), [Effect::Request(Request::Attend(Spot::Incident))]);
        assert_eq!(desk.event(Event::Wake), []);
    }

    #[test]
    fn a_screen_that_only_reads_asks_for_no_change_and_says_why() {
        let mut desk = Desk::new(true);
        assert!(desk.model.readonly());
        for key in ['i', 'I', 'D', 'a', 'r', 'S', 'm'] {
            assert_eq!(desk.press(key), [], "{key}");
            assert_eq!(desk.notice(), Some(READ_ONLY), "{key}");
            assert!(desk.model.overlays.is_empty() && !desk.model.panes.captures_keys(desk.model.focus), "{key}");
            desk.model.notices.dismiss();
        }
        let change = Effect::Request(Request::TestNotifier("chat".into()));
        let asked = desk.model.withhold(&Effect::Confirm { question: "sure?".into(), then: vec![change] });
        assert_eq!(asked, Some(vec![Notice::warn(READ_ONLY)]));
        let draft = Effect::Request(Request::SaveNoteDraft("half".into()));
        assert_eq!(desk.model.withhold(&draft), Some(Vec::new()), "nobody asked for it: nothing is said");
        assert_eq!(desk.event(Event::Leaving), []);
        let mut writer = Desk::new(false);
        assert_eq!(writer.model.withhold(&draft), None);
        writer.press('i');
        assert_eq!(writer.notice(), None);
    }
}
