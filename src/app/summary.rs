//! What the header says: how much is red and which went first, what people could not be told, the open incident, what
//! is wrong with the config.

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use crate::app::command::{Command, GlobalCommand};
use crate::app::model::Model;
use crate::app::ways;
use crate::domain::board::{Board, Stopping};
use crate::domain::format::{age, local_times, moment, since, stopwatch};
use crate::domain::host::Way;
use crate::domain::ids::HostId;
use crate::domain::incident::Severity;
use crate::domain::probe::health::Health;
use crate::domain::probe::holding::CUT_OFF_WORDS;
use crate::domain::sanitise;
use crate::theme::role::Role;
use crate::widgets::wrap::cut;

/// A piece of the header with what it means.
pub type Piece = (Role, String);

/// What the header says of the services, piece by piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// `x 6 of 41 red`.
    pub red: Option<Piece>,
    /// What went first.
    pub first: Option<FirstRed>,
    /// How much people could not be told.
    pub unsent: Option<Piece>,
    /// Which notifiers fail, and why.
    pub failing: Option<Piece>,
    /// Who has seen what went first.
    pub seen: Option<Piece>,
    /// How many are otherwise not well, and what lost hosts last said.
    pub other: Vec<Piece>,
    /// How many are well.
    pub up: Option<Piece>,
}

/// What went first, as far as it is red still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRed {
    /// `first `, when it is not the only one.
    pub first: &'static str,
    /// Its name, cut where it is very long.
    pub name: String,
    /// Since when.
    pub since: String,
    /// What is wrong, in a word or two.
    pub word: String,
    /// What is wrong, in words.
    pub words: String,
}

/// Cells of a name in the header.
const NAME_CELLS_MAX: usize = 28;

/// How much is red and what went first: `6 of 41 red  first storage-a refused 14:43:58  2 slow  seen by alice`.
pub fn services(model: &Model) -> Services {
    let board = &model.board;
    let probes = &board.probes;
    if probes.is_empty() {
        return Services { unsent: unsent(model), failing: failing(model), ..Services::default() };
    }
    let down = board.count(Health::Down);
    let live = board.live_probes().count();
    let mut services = Services { unsent: unsent(model), failing: failing(model), ..Services::default() };
    services.red = (down > 0).then(|| (Role::ProbeDown, format!("x {down} of {live} red")));
    if let Some((id, state)) = board.first_red().and_then(|id| Some((id, probes.get(id)?))) {
        let trouble = state.why();
        services.first = Some(FirstRed {
            first: if down == 1 { "" } else { "first " },
            name: cut(&sanitise::text(&board.row_name(id.host(), id.name())), NAME_CELLS_MAX, false),
            since: state.since().map(|it| moment(model.now, it, &model.zone)).unwrap_or_default(),
            word: trouble.map_or_else(String::new, |it| sanitise::text(&it.brief)),
            words: trouble.map_or_else(String::new, |it| sanitise::text(&it.text)),
        });
        services.seen = board.seen_by(id).map(|by| (Role::Header, format!("seen by {by}")));
    }
    for (health, word, role) in [
        (Health::Suspect, "failing", Role::ProbeSuspect),
        (Health::Degraded, "degraded", Role::ProbeDegraded),
        (Health::Unknown, "unknown", Role::ProbeUnknown),
    ] {
        let count = board.count(health);
        if count > 0 {
            services.other.push((role, format!("! {count} {word}")));
        }
    }
    // What an earlier run found counts until this one has looked, and says that it is old.
    let old = board.live_probes().filter(|(_, it)| it.is_of_earlier_run()).count();
    if old > 0 {
        services.other.push((Role::ProbeUnknown, format!("- {old} not run yet")));
    }
    services.other.extend(unseen(model));
    let up = board.count(Health::Up);
    if up > 0 {
        services.up = Some(match ways::as_of(model) {
            // Nobody has looked since.
            Some(_) if up == 1 => (Role::ProbeUnknown, "1 was ok".to_string()),
            Some(_) => (Role::ProbeUnknown, format!("{up} were ok")),
            None if up == probes.len() => (Role::ProbeUp, format!("all {up} ok")),
            None => (Role::ProbeUp, format!("{up} ok")),
        });
    }
    services
}

/// What lost hosts last said of their probes: `? 11 of web1 not seen since 14:43:58, 3 were red`.
fn unseen(model: &Model) -> Option<Piece> {
    let board = &model.board;
    let of_lost = || board.probes.iter().filter(|(id, _)| board.lost_since(id.host()).is_some());
    let count = of_lost().count();
    if count == 0 {
        return None;
    }
    let hosts: Vec<(&HostId, Timestamp)> = board.lost_hosts().collect();
    let whose = match hosts.as_slice() {
        [(host, since)] => format!("of {host} not seen since {}", moment(model.now, *since, &model.zone)),
        many => format!("of {} lost hosts not seen", many.len()),
    };
    let red = of_lost().filter(|(_, it)| it.health() == Health::Down).count();
    let was = match red {
        0 => String::new(),
        1 => ", 1 was red".to_string(),
        red => format!(", {red} were red"),
    };
    Some((Role::ProbeUnknown, format!("? {count} {whose}{was}")))
}

/// How much people could not be told: `! 3 unsent`. Nothing while all is well.
fn unsent(model: &Model) -> Option<Piece> {
    // What the list of notifiers calls waiting: also what is held back to go in one message with the rest.
    let unsent = model.board.alerts.unsent();
    (unsent > 0).then(|| (Role::NoticeWarn, format!("! {unsent} unsent")))
}

/// Which notifiers fail, and why: `x chat fails: 502`. Nothing while all is well.
fn failing(model: &Model) -> Option<Piece> {
    let alerts = &model.board.alerts;
    // One that the config does not name any more fails nobody.
    let rules = alerts.rules();
    let failing: Vec<_> =
        alerts.notifiers().iter().filter(|(name, it)| !it.is_well() && rules.notifier(name).is_some()).collect();
    match failing.as_slice() {
        [] => None,
        [(name, state)] => {
            let error = state.error.as_deref().unwrap_or("it takes nothing");
            Some((Role::NoticeError, format!("x {name} fails: {error}")))
        }
        many => {
            let names: Vec<&str> = many.iter().map(|(name, _)| name.as_str()).collect();
            Some((Role::NoticeError, format!("x {} notifiers fail: {}", many.len(), names.join(", "))))
        }
    }
}

/// The open incident: `SEV2  INC-0819-k7q2  edge 502  00:07:41  investigating`. Nothing when none is open.
pub fn incident(model: &Model) -> Vec<Piece> {
    let Some(it) = model.board.incidents.open_incidents().next() else { return Vec::new() };
    let (role, severity) = match it.severity {
        Severity::Sev1 => (Role::Sev1, "SEV1"),
        Severity::Sev2 => (Role::Sev2, "SEV2"),
        Severity::Sev3 => (Role::Sev3, "SEV3"),
        Severity::Sev4 => (Role::Sev4, "SEV4"),
    };
    let running = it.duration(model.now).try_into().unwrap_or_default();
    let mut pieces = vec![
        (role, severity.to_string()),
        (Role::HeaderStrong, model.board.row_name(it.id.host(), &it.short_name())),
        (Role::HeaderStrong, it.title.clone()),
        (Role::Header, stopwatch(running)),
        (Role::Header, it.status.word().to_string()),
    ];
    if let Some(impact) = it.impact_start {
        pieces.push((Role::Header, format!("impact {}", moment(model.now, impact, &model.zone))));
    }
    let (more, place) = model.board.open_beside(&it.id);
    if more > 0 {
        // Where there is no room the pane says where.
        let place = if model.size().0 < PLACE_FROM { String::new() } else { place };
        pieces.push((Role::Header, format!("+{more} open{place}")));
    }
    pieces
}

/// Columns from which the header says on which host another incident is open.
const PLACE_FROM: u16 = 100;

/// Hosts that are named one by one while they are well; of more their number is enough.
const HOSTS_NAMED: usize = 8;

/// How each of several hosts is: `db1 ok  web1 LOST 12s`. Those that are not well come first where many are, or where
/// a row of so many cells has no room for all.
pub fn hosts(model: &Model, width: usize) -> Vec<Piece> {
    let piece = |(host, way): (&HostId, &Way)| match way {
        Way::Inside | Way::Attached { readonly: false, .. } => (Role::ProbeUp, format!("{host} ok")),
        Way::Attached { readonly: true, .. } => (Role::ProbeUp, format!("{host} ok, read-only")),
        Way::Connecting => (Role::ProbeUnknown, format!("{host} connecting")),
        Way::Lost { since: at, .. } => (Role::ProbeDown, format!("{host} LOST {}", age(since(model.clock, *at)))),
        Way::Refused { .. } => (Role::ProbeDown, format!("{host} refused")),
    };
    let pieces: Vec<Piece> = model.ways.iter().map(piece).collect();
    let cells: usize = pieces.iter().map(|(_, text)| text.width() + 2).sum();
    if pieces.len() <= HOSTS_NAMED && cells < width {
        return pieces;
    }
    let (well, mut other): (Vec<Piece>, Vec<Piece>) = pieces.into_iter().partition(|it| it.0 == Role::ProbeUp);
    other.push((Role::ProbeUp, format!("{} of {} hosts ok", well.len(), model.ways.len())));
    other
}

/// True while a clock on the screen counts: an incident is open.
pub fn ticks(board: &Board) -> bool {
    !board.incidents.open().is_empty()
}

/// What stands in the way of doing all that the config says, in one line.
pub fn banner(model: &Model) -> Option<String> {
    // Whatever else is said here is old by then.
    if let Some(text) = ways::banner(model) {
        return Some(text);
    }
    if let Some(Stopping { waits_for, until }) = &model.board.stopping {
        let until = moment(model.now, *until, &model.zone);
        return Some(format!("who watches was told to end: it waits for {waits_for}, until {until} at most"));
    }
    // What is red may be no one's fault but ours: that comes before everything.
    if model.board.probes.is_cut_off() {
        return Some(CUT_OFF_WORDS.to_string());
    }
    if let Some((host, _)) = model.fleet.boards().find(|(_, it)| it.probes.is_cut_off()) {
        return Some(format!("{host} is cut off: every canary fails there, so what it says of far away is not told"));
    }
    if let Some(why) = &model.board.not_durable {
        let why = local_times(why, model.now, &model.zone);
        return Some(format!("not durable: {why}; pages go out, a restart would forget them"));
    }
    let problems = model.config_problems();
    // The path stands in the list of problems; here the mistake needs the room.
    let first = problems.first().map(|it| it.brief());
    let rejected = !model.board.config.rejected.is_empty();
    // The key stands before the mistake, which may be long.
    let key = model.keymap.label(Command::Global(GlobalCommand::Problems)).unwrap_or_else(|| ":problems".into());
    match (first, problems.len()) {
        (Some(first), 1) if rejected => Some(format!("config not taken, the old one runs ({key}): {first}")),
        (Some(first), count) if rejected => {
            Some(format!("config not taken, the old one runs ({key}: {count} problems): {first}"))
        }
        (Some(first), 1) => Some(format!("config ({key}): {first}")),
        (Some(first), count) => Some(format!("config ({key}: {count} problems): {first}")),
        (None, _) => {
            if let Some((service, error)) = model.board.failures.first_key_value() {
                return Some(format!("{service} failed: {error}"));
            }
            model.board.standby.as_deref().map(ways::reading).or_else(|| ways::remark(model))
        }
    }
}
