//! What a screen and a runtime say to each other over a byte stream: the unix socket, or the pipe of an ssh.
//!
//! One frame is one line: JSON in UTF-8 without a line feed inside, then `\n`. The screen says [`ToAgent::Hello`]
//! first and within [`HELLO_DEADLINE`]; the runtime answers [`ToScreen::Welcome`] or [`ToScreen::Refused`] and closes.
//! Then each says what it has to: the screen requests, the runtime a snapshot of its board, the facts after it, and
//! answers. Who has been silent for [`ALIVE_EVERY`] says `"alive"`; who has heard nothing for [`SILENCE_MAX`] takes
//! the other for lost. A line that is longer than its bound ends the connection. A frame whose kind is not known comes
//! from a newer hotseat: it is passed over and counted.
//!
//! Back-pressure: a runtime never waits for a screen. What a slow one cannot take is replaced by newer windows and,
//! for facts, by `Inbound::Missed` and a fresh snapshot.
//!
//! # A conversation
//!
//! ```text
//! screen   {"hello":{"protocol":1,"least":1,"version":"0.1.0","visitor":{"user":"alice"},"glimpses":true}}
//! runtime  {"welcome":{"protocol":1,"host":"web-1","peer":{…},"visitor":{"user":"alice",…},"now":"…"}}
//! runtime  {"inbound":{"snapshot":{…}}}
//! runtime  {"inbound":{"outcomes":{"probe":"web-1/api","outcomes":[…]}}}
//! runtime  {"inbound":{"fact":{"host":"web-1","seq":12,"at":"…","actor":"runtime","fact":{…}}}}
//! screen   {"request":{"run-probe":"web-1/api"}}
//! screen   {"keep":{"number":1,"request":{"note":{"incident":null,"at":null,"text":"restarted the api"}}}}
//! runtime  {"inbound":{"done":"note saved"}}
//! runtime  {"inbound":{"settled":1}}
//! runtime  "alive"
//! runtime  {"bye":"the agent was stopped"}
//! ```
//!
//! # What is promised
//!
//! * Facts come in the order of `seq` and without a hole behind the snapshot that they follow.
//! * A request in `keep` is done with when its `settled` comes, behind every answer to it. Whoever asked keeps it until
//!   then: when the connection ends before, it goes back to the person.
//! * Fields that are not known are ignored, and fields may come to be missing only when they have a default. A new
//!   kind of frame, request, answer or fact needs no new protocol: an older screen asks for the board again with
//!   `"snapshot"` after a fact that it does not know, and an older runtime answers `not-understood`.
//! * Versions of hotseat that differ talk as long as they share a protocol.
//! * A runtime speaks for the host that its welcome names: what it says of another is passed over.
//! * `take-over`, `let-go` and `reattach`, `host` and `host-named` are words between a screen and what links it. They
//!   are never sent, and when they come they do nothing.
//!
//! # Limits
//!
//! The first line has at most [`HELLO_MAX_BYTES`], a line from a screen [`REQUEST_MAX_BYTES`], one from a runtime
//! [`INBOUND_MAX_BYTES`]; what is too long to be said is told to whom it was for. Of one screen [`KEEP_MAX`] requests
//! wait for their `settled`, then no more are read. Who takes nothing for [`STUCK_MAX`] or says nothing for
//! [`SCREEN_SILENCE_MAX`] is let go, and a glance is over after [`GLANCE_MAX`].
//!
//! Who is at the other end of a socket is not part of what is said: the kernel tells, see [`crate::agent::peer`].

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::host::Peer;
use crate::domain::ids::HostId;
use crate::domain::presence::Visitor;
use crate::domain::request::{Inbound, Request};

/// The protocol of this version. It grows when a peer of the one before would misunderstand.
pub const PROTOCOL: u32 = 1;
/// The oldest protocol that is still spoken.
pub const PROTOCOL_LEAST: u32 = 1;
/// Longest line from a screen: a document of an incident is the largest thing that people send.
pub const REQUEST_MAX_BYTES: usize = 8 << 20;
/// Longest line from a runtime: a snapshot of a thousand probes takes a few MiB.
pub const INBOUND_MAX_BYTES: usize = 64 << 20;
/// Longest first line: nobody is known before it, and a name and two versions are short.
pub const HELLO_MAX_BYTES: usize = 16 << 10;
/// A screen that has not said hello by then is none.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// Who has said nothing else for so long says that they are alive.
pub const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// Who is silent for so long is lost. With the time that saying so takes this stays below three seconds.
pub const SILENCE_MAX: Duration = Duration::from_millis(2_500);
/// A screen that is silent for so long is let go. Longer than the other way: one that was stopped by ctrl-z or sits
/// behind a slow network costs nothing, and whoever comes back attaches again.
pub const SCREEN_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Who takes nothing of what is written to them for so long is let go.
pub const STUCK_MAX: Duration = Duration::from_secs(20);
/// Who comes for a glance only is let go after this: nobody sees them, so nobody stays that way.
pub const GLANCE_MAX: Duration = Duration::from_secs(30);
/// Requests of one screen whose end has not been told; a person decides less at a time. Past it no more are read.
pub const KEEP_MAX: usize = 64;

/// From a screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToAgent {
    /// Who comes; the first frame.
    Hello(Box<Hello>),
    /// What is asked.
    Request(Box<Request>),
    /// What a person wrote or decided (`Request::is_decision`). It is known to be done with when
    /// `Inbound::Settled` names its number; until then whoever asked keeps it.
    Keep {
        /// Not used twice on one connection.
        number: u64,
        /// What is asked.
        request: Box<Request>,
    },
    /// The board is wanted again, because something of it was not understood.
    Snapshot,
    /// Still here.
    Alive,
    /// An agent starts on this state directory and asks a screen's runtime to make room. An agent does not yield.
    Yield,
}

/// From a runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToScreen {
    /// The answer to hello; everything after it is about this host.
    Welcome(Box<Welcome>),
    /// The connection is closed; why and what to do, in words.
    Refused(String),
    /// A snapshot, a fact or an answer.
    Inbound(Box<Inbound>),
    /// A request came that this version does not know; nothing was done.
    NotUnderstood {
        /// The number of the request, when it has one.
        number: Option<u64>,
        /// What came, in words.
        what: String,
    },
    /// Still here.
    Alive,
    /// The runtime ends in order; why, in words.
    Bye(String),
}

/// Who comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest protocol that the screen speaks.
    pub protocol: u32,
    /// The oldest one.
    pub least: u32,
    /// The screen's version of hotseat, for people.
    pub version: String,
    /// Who is at the screen. The name counts only where the peer's uid allows it.
    pub visitor: Visitor,
    /// What for. An older runtime takes everybody for somebody who stays.
    #[serde(default)]
    pub errand: Errand,
    /// It takes a snapshot in which past outcomes are glimpses, and the outcomes behind it as `Inbound::Outcomes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub glimpses: bool,
}

/// What somebody comes for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errand {
    /// To stay: the screen of a person, whom the others see.
    #[default]
    Stay,
    /// To look and go: a command. Nobody sees it, it changes nothing, and it is let go after [`GLANCE_MAX`].
    Glance,
    /// An agent that waits for the state directory, by its process id. It is shown nothing and sees when the place is
    /// free by the end of the conversation; screens see that it waits.
    StandBy(u32),
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol that is spoken from here on: the newest that both speak.
    pub protocol: u32,
    /// The host; part of every id.
    pub host: HostId,
    /// What runs here.
    pub peer: Peer,
    /// As whom the screen is recorded, and whether it may change anything.
    pub visitor: Visitor,
    /// The time here.
    pub now: Timestamp,
}

/// The protocol that two can speak, given what each speaks; `None` when there is none.
pub fn common(ours: (u32, u32), theirs: (u32, u32)) -> Option<u32> {
    let newest = ours.1.min(theirs.1);
    (newest >= ours.0.max(theirs.0)).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_that_both_speak_is_spoken() {
        assert_eq!(common((1, 3), (2, 5)), Some(3));
        assert_eq!(common((2, 5), (1, 3)), Some(3));
        assert_eq!(common((1, 1), (1, 1)), Some(1));
        assert_eq!(common((3, 4), (1, 2)), None);
    }

    #[test]
    fn a_frame_is_one_line_whatever_it_says() {
        let frame = ToScreen::Inbound(Box::new(Inbound::Failed("two\nlines\u{2028}and more".into())));
        let line = serde_json::to_string(&frame).expect("JSON");
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<ToScreen>(&line).expect("read"), frame);
        assert_eq!(serde_json::to_string(&ToAgent::Alive).expect("JSON"), "\"alive\"");
    }
}
