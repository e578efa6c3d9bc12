//! How a screen is connected with the runtime of a host.
//!
//! Not a fact: no runtime observes it. Whoever carries the link says it to the screen beside what the runtime says.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::format;
use crate::domain::ids::HostId;

/// Who holds a state directory that nobody holds, for [`crate::domain::fact::RuntimeFact::Standby`].
pub const NOBODY: &str = "nobody";
/// What is said behind the name of a holder that cannot be asked.
pub const DEAF: &str = ", which does not answer,";

/// What is known of the way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNews {
    /// Which host, by the name its ids have; before it has said its name, what it was called on the command line.
    pub host: HostId,
    /// How it is.
    pub way: Way,
}

/// How a screen is connected with a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Not yet, for the first time.
    Connecting,
    /// The runtime is in this process.
    Inside,
    /// Attached to a runtime of another process.
    Attached {
        /// What runs there.
        peer: Peer,
        /// This screen may look and change nothing.
        readonly: bool,
        /// How far the clock there is ahead of ours, in milliseconds; what the way takes is in it.
        ahead_ms: i64,
    },
    /// The runtime is gone or silent.
    Lost {
        /// Since when.
        since: Timestamp,
        /// Why, in words.
        why: String,
        /// When it is tried again; `None` while it is being tried.
        retry_at: Option<Timestamp>,
        /// Nobody watches this host now, and this screen can: `Request::TakeOver`.
        can_take_over: bool,
        /// A process that holds this host and does nothing, which taking over ends first; in words:
        /// `pid 4242, which is stopped`.
        #[serde(default)]
        ends: Option<String>,
    },
    /// It refused, or speaks another protocol.
    Refused {
        /// Since when.
        #[serde(default)]
        since: Timestamp,
        /// Why and what to do, in words.
        why: String,
        /// When it is tried again.
        #[serde(default)]
        again: Again,
    },
}

/// When a host that refused is tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    /// Never: another one is shown under its name.
    #[default]
    Never,
    /// When a person asks for it by `Request::Reattach`: who knocks again and again with the wrong key is locked out.
    Asked,
    /// By itself, at this time.
    At(Timestamp),
    /// It is being tried.
    Now,
}

impl Way {
    /// Why a host is not reached and when it is tried again, in one line; `None` for one that is.
    pub fn absence(&self, host: &HostId, now: Timestamp) -> Option<String> {
        Some(match self {
            Self::Lost { why, retry_at, .. } => format!("{host} is not reached, {}: {why}", again(now, *retry_at)),
            Self::Refused { why, again, .. } => format!("{host} is not reached, {}: {why}", again.words(now)),
            Self::Connecting => format!("{host}: connecting"),
            Self::Inside | Self::Attached { .. } => return None,
        })
    }
}

impl Again {
    /// When that is, in words.
    fn words(self, now: Timestamp) -> String {
        match self {
            Self::Never => "and not tried again".to_string(),
            Self::Asked => "`:retry` tries again".to_string(),
            Self::At(at) => again(now, Some(at)),
            Self::Now => again(now, None),
        }
    }
}

/// When a lost host is tried again: `retry in 4s`.
pub fn again(now: Timestamp, retry_at: Option<Timestamp>) -> String {
    match retry_at {
        // Rounded up: what is shown for the last second is not "in 0s".
        Some(at) if at > now => {
            format!("retry in {}", format::age(format::since(at, now) + Duration::from_millis(999)))
        }
        _ => "retrying".to_string(),
    }
}

/// What runs at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What holds the state directory there.
    pub role: Role,
    /// The version of hotseat.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since when it runs.
    pub since: Timestamp,
}

/// What holds a state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `hotseat agent`.
    Agent,
    /// The screen of a person; its runtime ends with it.
    Screen(String),
}
