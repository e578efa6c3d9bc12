//! The time machine: the whole screen as it was at an earlier instant, one event at a time.
//!
//! While the past is shown, the board that is drawn and the time that it is drawn at are those of that instant, so
//! that every age and every ribbon is right without any view knowing. The live board is folded on behind it, and what
//! would change something is refused: only notes and pins are taken, as of now, because that is what one looks for.

use jiff::{SignedDuration, Timestamp};

use crate::app::command::{Command, GlobalCommand};
use crate::app::effect::{Effect, Notice, Sheet};
use crate::app::model::Model;
use crate::app::ways;
use crate::domain::board::Board;
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::past::{Absent, Found, Moment, Past, PastEvent, PastKind, PastRequest, Step};
use crate::domain::probe::health::Health;
use crate::domain::request::Request;
use crate::domain::sanitise;

/// A question without an answer is forgotten after this.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// What is answered sooner is answered at once, to a person who looks.
const READING_AFTER: SignedDuration = SignedDuration::from_millis(300);
/// How often the band says anew how long ago it was.
const TELLS_AGE_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// Hosts that the band names one by one.
const ABSENT_NAMED: usize = 3;
/// A start after less than this was a restart, and nobody missed anything.
const GAP_MIN: SignedDuration = SignedDuration::from_secs(5);

/// What the screen knows of being in the past.
#[derive(Debug, Default)]
pub struct TimeMachine {
    generation: u64,
    asked_at: Option<Timestamp>,
    /// Pressed while an answer was on its way; the newest wins.
    queued: Option<Wish>,
    shown: Option<Box<Shown>>,
}

/// Where somebody wants to go.
#[derive(Debug, Clone, PartialEq)]
struct Wish {
    earlier: bool,
    about: Option<ProbeId>,
}

/// The instant that is shown.
#[derive(Debug)]
struct Shown {
    at: Timestamp,
    events: Vec<PastEvent>,
    gap: Option<(Timestamp, Timestamp)>,
    absent: Vec<Absent>,
    /// The live board.
    live: Board,
}

impl TimeMachine {
    /// The instant that is shown; `None` while the present is.
    pub fn at(&self) -> Option<Timestamp> {
        self.shown.as_ref().map(|it| it.at)
    }

    /// True when an answer takes so long that it is said to be on its way.
    pub fn is_reading(&self, clock: Timestamp) -> bool {
        self.asked_at.is_some_and(|it| (READING_AFTER..PATIENCE).contains(&clock.duration_since(it)))
    }

    /// When [`TimeMachine::is_reading`] changes by itself.
    pub(super) fn reading_wake(&self, clock: Timestamp) -> Option<Timestamp> {
        let asked_at = self.asked_at?;
        let borders = [READING_AFTER, PATIENCE].into_iter().filter_map(|it| asked_at.checked_add(it).ok());
        borders.into_iter().find(|it| *it > clock)
    }

    /// The live board, when it is not the one that is drawn.
    pub(super) fn live_mut(&mut self) -> Option<&mut Board> {
        self.shown.as_mut().map(|it| &mut it.live)
    }

    /// The answer will not come.
    pub(super) fn give_up(&mut self) {
        self.asked_at = None;
        self.queued = None;
    }

    fn ask(&mut self, clock: Timestamp, step: Step, about: Option<ProbeId>) -> Vec<Effect> {
        self.generation += 1;
        self.asked_at = Some(clock);
        let request = PastRequest { host: None, generation: self.generation, step, about };
        vec![Effect::Request(Request::Past(request))]
    }
}

/// What the header says while the past is shown: when, what happened, the ways out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// `PAST 14:43:52 (12m ago)`.
    pub when: String,
    /// `without web1 (lost)`: the hosts that are not shown, when there are such; and how many in short.
    pub without: Option<(String, String)>,
    /// `live: 2 red`, when something is.
    pub live: Option<String>,
    /// `api up -> down: timeout`.
    pub what: String,
    /// `[ earlier`, `] later`, `esc live`; the last is the way out.
    pub keys: Vec<String>,
}

impl Model {
    /// The band of the header; `None` while the present is shown.
    pub fn past_band(&self) -> Option<Band> {
        let shown = self.past.shown.as_ref()?;
        let red = shown.live.count(Health::Down);
        let lost = ways::is_lost(self).then(|| "live: lost".to_string());
        let live = (red > 0).then(|| format!("live: {red} red"));
        let live = lost.or(live);
        let (at, ago) = (format::moment(self.clock, shown.at, &self.zone), format::ago(self.clock, shown.at));
        let key =
            |command, label: &str| self.keymap.label(Command::Global(command)).map(|key| format!("{key} {label}"));
        let keys = [
            key(GlobalCommand::PastEarlier, "earlier"),
            key(GlobalCommand::PastLater, "later"),
            key(GlobalCommand::Back, "live"),
        ];
        let keys: Vec<String> = keys.into_iter().flatten().collect();
        let when = format!("PAST {at} ({ago})");
        Some(Band { when, without: without(&shown.absent), live, what: self.what_happened(shown), keys })
    }

    fn what_happened(&self, shown: &Shown) -> String {
        let moment = |at| format::moment(self.clock, at, &self.zone);
        if let Some((from, until)) = shown.gap {
            return format!("nothing was recorded {}-{}", moment(from), moment(until));
        }
        let Some(first) = shown.events.first() else { return "nothing had happened yet".to_string() };
        let mut text = if first.subject.is_empty() || first.kind == PastKind::Note {
            first.text.clone()
        } else {
            format!("{} {}", first.subject, first.text)
        };
        if let Some(from) = first.nothing_since.filter(|it| first.at.duration_since(*it) >= GAP_MIN) {
            text.push_str(&format!(": nothing was recorded {}-{}", moment(from), moment(first.at)));
        }
        let more = shown.events.len() - 1;
        if more > 0 {
            text.push_str(&format!(" (+{more})"));
        }
        if first.at < shown.at {
            text.push_str(&format!(", at {}", moment(first.at)));
        }
        sanitise::text(&text)
    }

    /// When the band must be drawn again.
    pub(super) fn past_wake(&self, now: Timestamp) -> Option<Timestamp> {
        self.past.shown.as_ref()?;
        Some(now.checked_add(TELLS_AGE_EVERY).unwrap_or(Timestamp::MAX))
    }

    /// Steps to the event before or after the instant that is shown.
    pub(super) fn step_past(&mut self, earlier: bool, about: Option<ProbeId>) -> Vec<Effect> {
        let is_waiting = self.past.asked_at.is_some_and(|it| self.clock.duration_since(it) < PATIENCE);
        if is_waiting {
            self.past.queued = Some(Wish { earlier, about });
            return Vec::new();
        }
        let step = match (self.past.at(), earlier) {
            (Some(at), true) => Step::Before(at),
            (Some(at), false) => Step::After(at),
            // The clock of another host may be ahead of ours.
            (None, true) => Step::Before(Timestamp::MAX),
            (None, false) => {
                let key = self.keymap.label(Command::Global(GlobalCommand::PastEarlier));
                let back = key.map_or(String::new(), |it| format!(", `{it}` steps back to the event before"));
                return vec![Notice::info(format!("this is the present{back}"))];
            }
        };
        self.past.ask(self.clock, step, about)
    }

    /// As [`Model::step_past`], among the events of the selected probe.
    pub(super) fn step_past_of_probe(&mut self, earlier: bool) -> Vec<Effect> {
        // What is marked stays so: at another instant something else is in trouble first.
        self.with_pane(crate::panes::PaneId::Services, |panes, cx| panes.services.hold(cx));
        if let Some(choice) = self.panes.services.choice(&self.board) {
            return vec![Notice::info(format!("one steps along one probe: {choice}"))];
        }
        let about = self.panes.services.selected(&self.board);
        if about.is_none() {
            return vec![Notice::info("no probe is selected")];
        }
        self.step_past(earlier, about)
    }

    /// Goes to a time that was.
    pub(super) fn visit_past(&mut self, at: Timestamp) -> Vec<Effect> {
        if at >= self.clock {
            return self.leave_past();
        }
        self.past.queued = None;
        self.past.ask(self.clock, Step::At(at), None)
    }

    /// Takes an answer in.
    pub(super) fn on_past(&mut self, past: &Past) -> Vec<Effect> {
        if past.generation != self.past.generation || self.past.asked_at.take().is_none() {
            return Vec::new();
        }
        let mut effects = match &past.found {
            Found::Moment(moment) => self.show_past(moment),
            Found::Present => self.leave_past(),
            Found::Beginning => vec![Notice::info(match past.known_since {
                Some(since) => {
                    let since = format::moment(self.clock, since, &self.zone);
                    format!("no earlier event: the record begins at {since}")
                }
                None => "nothing is recorded yet".to_string(),
            })],
        };
        if let Some(wish) = self.past.queued.take() {
            effects.extend(self.step_past(wish.earlier, wish.about));
        }
        effects
    }

    fn show_past(&mut self, moment: &Moment) -> Vec<Effect> {
        let then = std::mem::replace(&mut self.board, moment.board.clone());
        let live = match self.past.shown.take() {
            Some(shown) => shown.live,
            None => then,
        };
        let (at, events, gap, absent) = (moment.at, moment.events.clone(), moment.gap, moment.absent.clone());
        self.past.shown = Some(Box::new(Shown { at, events, gap, absent, live }));
        self.now = at;
        let mut effects = self.panes_turned();
        effects.extend(self.with_pane(crate::panes::PaneId::Logs, |panes, cx| panes.logs.visit(cx, at)));
        effects
    }

    /// Comes back to the present.
    pub(super) fn leave_past(&mut self) -> Vec<Effect> {
        // An answer that is still on its way must not lead back.
        self.past.give_up();
        let Some(shown) = self.past.shown.take() else { return Vec::new() };
        self.board = shown.live;
        self.now = self.clock;
        let mut effects = self.panes_turned();
        effects.extend(self.with_pane(crate::panes::PaneId::Logs, |panes, cx| panes.logs.come_back(cx)));
        effects
    }

    fn panes_turned(&mut self) -> Vec<Effect> {
        self.with_pane(crate::panes::PaneId::Services, |panes, cx| panes.services.turned(cx))
    }

    /// Why nothing can be changed now.
    pub(super) fn is_past(&self) -> Effect {
        let key = self.keymap.label(Command::Global(GlobalCommand::Back)).unwrap_or_else(|| ":live".to_string());
        Notice::warn(format!("this is the past: {key} for live, then again"))
    }

    /// What an effect becomes while the past is shown: what would change something is refused.
    pub(super) fn in_past(&self, effect: Effect) -> Vec<Effect> {
        let Some(at) = self.past.at() else { return vec![effect] };
        if changes(&effect) {
            return vec![self.is_past()];
        }
        match effect {
            Effect::Request(Request::Explain(mut request)) => {
                request.at = request.at.or(Some(at));
                vec![Effect::Request(Request::Explain(request))]
            }
            Effect::Request(Request::Note(note)) if note.at.is_none() => {
                let said = Notice::info("the note is written as of now, not of the past that is shown");
                vec![Effect::Request(Request::Note(note)), said]
            }
            other => vec![other],
        }
    }
}

/// The hosts that nothing is known of, and why: of several for one reason it is said once. And how many, in short.
fn without(absent: &[Absent]) -> Option<(String, String)> {
    let first = absent.first()?;
    let names: Vec<String> = absent.iter().take(ABSENT_NAMED).map(|it| sanitise::text(it.host.as_str())).collect();
    let short = match absent {
        [_] => format!("without {}", names[0]),
        many => format!("without {} hosts", many.len()),
    };
    let more = match absent.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if absent.iter().all(|it| it.why == first.why) {
        return Some((format!("without {}{more} ({})", names.join(", "), sanitise::text(&first.why)), short));
    }
    let each = |(name, it): (&String, &Absent)| format!("{name} ({})", sanitise::text(&it.why));
    let each: Vec<String> = names.iter().zip(absent).map(each).collect();
    Some((format!("without {}{more}", each.join(", ")), short))
}

/// True for what would change something that is only known as it was.
fn changes(effect: &Effect) -> bool {
    match effect {
        Effect::Request(
            // What a person writes or keeps as evidence is wanted now, and is written now.
            Request::Note(_)
            | Request::Pin(_)
            | Request::SaveDocument { .. }
            | Request::SaveDraft { .. }
            | Request::SaveNoteDraft(_)
            // A file of what the logs show.
            | Request::Export(_)
            | Request::StopExport
            | Request::TakeOver,
        ) => false,
        Effect::Request(request) => request.changes(),
        Effect::Each { requests, .. } => requests.iter().any(Request::changes),
        Effect::Confirm { then, .. } => then.iter().any(changes),
        // What runs now says nothing of then.
        Effect::RunHere(..) | Effect::Show(Sheet::Beside { .. }) => true,
        Effect::Show(Sheet::Silence(_) | Sheet::Maintenance(_) | Sheet::Acknowledge(_)) => true,
        _ => false,
    }
}
