//! How the screen is connected, in words: what is lost and what can be done about it, who watches.

use jiff::Timestamp;

use crate::app::command::{Command, GlobalCommand};
use crate::app::model::Model;
use crate::domain::format::{ago, clock};
use crate::domain::host::{Again, DEAF, NOBODY, Role, Way, again};
use crate::domain::ids::HostId;

/// The version of this screen, to compare with what it is attached to.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// True while what is shown of a host is old, because it is lost.
pub fn is_lost(model: &Model) -> bool {
    lost(model).next().is_some()
}

/// True while what the banner says counts seconds.
pub fn counts(model: &Model) -> bool {
    is_lost(model) || model.ways.values().any(|it| matches!(it, Way::Refused { again: Again::At(_), .. }))
}

/// True while a host waits for a person to ask for another try.
pub fn waits_for_a_person(model: &Model) -> bool {
    model.ways.values().any(|it| matches!(it, Way::Refused { again: Again::Asked, .. }))
}

/// True while a person can take a lost host over.
pub fn can_take_over(model: &Model) -> bool {
    model.ways.values().any(|it| matches!(it, Way::Lost { can_take_over: true, .. })) || deaf_holder(model).is_some()
}

/// Who holds this host and does not answer, while this screen only reads beside them.
pub fn deaf_holder(model: &Model) -> Option<&str> {
    let holder = model.board.standby.as_deref()?.strip_suffix(DEAF)?;
    (!model.readonly() && !model.fleet.is_of_several()).then_some(holder)
}

/// How old everything on the screen is, when the only host is lost: `as of 14:43:52`.
///
/// Of several hosts each row says it for itself.
pub fn as_of(model: &Model) -> Option<String> {
    if model.fleet.is_of_several() {
        return None;
    }
    let (_, at) = lost(model).next()?;
    Some(format!("as of {}", clock(at, &model.zone)))
}

fn lost(model: &Model) -> impl Iterator<Item = (&HostId, Timestamp)> {
    model.ways.iter().filter_map(|(host, way)| match way {
        Way::Lost { since, .. } => Some((host, *since)),
        // One that was never attached has shown nothing that could be old.
        Way::Refused { since, .. } if model.reach().has_come(&model.board, host) => Some((host, *since)),
        _ => None,
    })
}

fn is_away(way: &Way) -> bool {
    matches!(way, Way::Lost { .. } | Way::Refused { .. })
}

/// What is lost, since when, what the person can do, when it is tried again, why. What matters most comes first: on
/// a narrow screen the end is cut off.
pub fn banner(model: &Model) -> Option<String> {
    let several = model.fleet.is_of_several();
    let away: Vec<(&HostId, &Way)> = model.ways.iter().filter(|(_, way)| is_away(way)).collect();
    if let [_, _, ..] = away.as_slice() {
        // Which they are stands above; why, and when it is tried again, is what a person can act on.
        let each: Vec<String> = away.iter().filter_map(|(host, way)| way.absence(host, model.clock)).collect();
        let are_lost = away.iter().all(|(_, way)| matches!(way, Way::Lost { .. }));
        let what = if are_lost { "LOST " } else { "not attached to " };
        // Of many reasons the header has room for the first.
        let all = model
            .keymap
            .label(Command::Global(GlobalCommand::Who))
            .map_or(String::new(), |it| format!(" ({it} shows each)"));
        return Some(format!("{what}{} hosts{all} · {}", away.len(), each.join(" · ")));
    }
    for (host, way) in &model.ways {
        let of = if several { format!(" {host}") } else { String::new() };
        match way {
            Way::Lost { since: at, why, retry_at, can_take_over, ends } => {
                let mut parts = vec![format!("LOST{of} {}", ago(model.clock, *at))];
                if *can_take_over {
                    let key = model.keymap.label(Command::Global(GlobalCommand::TakeOver));
                    parts.push(format!("{} take over", key.unwrap_or_else(|| ":takeover to".into())));
                }
                parts.extend(ends.as_ref().map(|it| format!("held by {it}")));
                parts.push(again(model.clock, *retry_at));
                parts.push(without_number(why).to_string());
                return Some(parts.join(" · "));
            }
            Way::Refused { why, again: when, .. } => {
                // How to go on stands before why, which may be long.
                let key = model.keymap.label(Command::Global(GlobalCommand::Reattach));
                let key = key.unwrap_or_else(|| ":retry".into());
                let when = match when {
                    Again::Never => "not tried again".to_string(),
                    Again::Asked => format!("{key} tries again"),
                    Again::At(at) => format!("{}, {key} now", again(model.clock, Some(*at))),
                    Again::Now => again(model.clock, None),
                };
                return Some(format!("not attached{of} · {when} · {why}"));
            }
            Way::Connecting | Way::Inside | Way::Attached { .. } => {}
        }
    }
    None
}

/// A system's error without its number, which says nothing to a person: `Broken pipe (os error 32)`.
fn without_number(why: &str) -> &str {
    let is_number = |it: &str| it.strip_suffix(')').is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()));
    why.rsplit_once(" (os error ").filter(|(_, number)| is_number(number)).map_or(why, |(words, _)| words)
}

/// How each host is, in full: of several hosts, and of one that is not reached.
pub fn each_in_full(model: &Model) -> Vec<String> {
    if !model.fleet.is_of_several() && !model.ways.values().any(is_away) {
        return Vec::new();
    }
    let words = |host: &HostId, way: &Way| match way {
        Way::Inside => format!("{host}: this screen watches"),
        Way::Attached { peer, readonly, .. } => {
            let only = if *readonly { ", read-only" } else { "" };
            let who = match &peer.role {
                Role::Agent => "agent".to_string(),
                Role::Screen(user) => format!("{user}'s screen"),
            };
            format!("{host}: {who} pid {}, hotseat {}{only}", peer.pid, peer.version)
        }
        away => away.absence(host, model.clock).unwrap_or_default(),
    };
    model.ways.iter().map(|(host, way)| words(host, way)).collect()
}

/// True when every host has said what it has.
pub fn all_known(model: &Model) -> bool {
    model.ways.values().all(|it| matches!(it, Way::Inside | Way::Attached { .. }))
}

/// What is good to know and stands in nobody's way: versions that differ.
pub fn remark(model: &Model) -> Option<String> {
    model.ways.iter().find_map(|(host, way)| match way {
        Way::Attached { peer, .. } if peer.version != OURS => {
            let of = if model.fleet.is_of_several() { format!(" of `{host}`") } else { String::new() };
            let there = if peer.role == Role::Agent { "agent" } else { "the other screen" };
            Some(format!("{there}{of} {}, screen {OURS}: attached, some things may be missing", peer.version))
        }
        _ => None,
    })
}

/// Who watches, for the corner of the header: `agent pid 4242`. Nothing while nothing is there to watch.
pub fn corner(model: &Model) -> Option<String> {
    if model.fleet.is_of_several() {
        return None;
    }
    match model.ways.values().next()? {
        Way::Connecting => Some("connecting".to_string()),
        Way::Attached { peer, readonly, .. } => {
            let who = match &peer.role {
                Role::Agent => format!("agent pid {}", peer.pid),
                Role::Screen(user) => format!("at {user}'s screen, pid {}", peer.pid),
            };
            let who = match model.board.waiting.as_slice() {
                [] => who,
                [pid] => format!("{who}, pid {pid} stands by"),
                many => format!("{who}, {} stand by", many.len()),
            };
            Some(if *readonly { format!("read-only, {who}") } else { who })
        }
        Way::Inside => {
            let board = &model.board;
            let watches = board.standby.is_none() && (!board.probes.is_empty() || !board.backups.jobs.is_empty());
            watches.then(|| "no agent: watches while open".to_string())
        }
        Way::Lost { .. } | Way::Refused { .. } => None,
    }
}

/// Why a screen that only reads does no more, for the banner.
pub fn reading(holder: &str) -> String {
    if holder == NOBODY {
        return "nobody watches this host: no probe runs, nobody is paged, no backup is made".to_string();
    }
    format!("reading only: {holder} probes and backs up here; notes work")
}
