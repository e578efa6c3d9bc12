//! Who is here: the screens attached to a runtime, whose they are and what they look at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::HostId;

/// Screens that a runtime names; one more is served, but not shown. A team in an outage is far smaller.
pub const SCREENS_MAX: usize = 64;

/// An attached screen; numbers are not used again while a runtime lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScreenId(pub u64);

/// What a person looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spot {
    /// The services.
    #[default]
    Services,
    /// The logs.
    Logs,
    /// The backups.
    Backups,
    /// The incident.
    Incident,
}

/// How a screen came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// It is the screen of the process that runs the runtime.
    #[default]
    Inside,
    /// From this host, by the socket.
    Local,
    /// From another host, by ssh; the address that ssh names.
    Ssh(String),
}

/// Who is at a screen and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// The person, by the name of `HOTSEAT_USER` or the login.
    pub user: String,
    /// They look and change nothing.
    #[serde(default)]
    pub readonly: bool,
    /// How they came.
    #[serde(default)]
    pub via: Via,
    /// Where they sit on the machine that they came from, which tells apart two of one name: the terminal, `pts/3`,
    /// else the process, `pid 4242`. `None` when they did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
}

impl Visitor {
    /// The person at the screen of this very process.
    pub fn inside(user: &str) -> Self {
        Self { user: user.to_string(), readonly: false, via: Via::Inside, seat: None }
    }
}

/// What a screen is to the runtime it is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct You {
    /// The host of the runtime.
    pub host: HostId,
    /// Its number there.
    pub screen: ScreenId,
    /// As whom it is recorded, and whether it may change anything.
    pub visitor: Visitor,
}

/// An attached screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// Who.
    pub visitor: Visitor,
    /// Since when.
    pub since: Timestamp,
    /// What they look at; `None` until they say.
    pub spot: Option<Spot>,
}

/// What is observed of screens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PresenceFact {
    /// A screen was attached.
    Came {
        /// Which.
        screen: ScreenId,
        /// Who.
        visitor: Visitor,
    },
    /// It looks at something else.
    Moved {
        /// Which.
        screen: ScreenId,
        /// At what.
        spot: Spot,
    },
    /// It is gone.
    Went {
        /// Which.
        screen: ScreenId,
    },
}

/// Everybody who is here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Presence {
    screens: BTreeMap<ScreenId, Here>,
}

impl Presence {
    /// Folds one fact in.
    pub fn apply(&mut self, now: Timestamp, fact: &PresenceFact) {
        match fact {
            PresenceFact::Came { screen, visitor } if self.screens.len() < SCREENS_MAX => {
                self.screens.insert(*screen, Here { visitor: visitor.clone(), since: now, spot: None });
            }
            PresenceFact::Came { .. } => {}
            PresenceFact::Moved { screen, spot } => {
                if let Some(here) = self.screens.get_mut(screen) {
                    here.spot = Some(*spot);
                }
            }
            PresenceFact::Went { screen } => {
                self.screens.remove(screen);
            }
        }
    }

    /// Everybody at several hosts. A person whose screen is attached to all of them is one, so of each person the
    /// screens at the host with the most of them count. The numbers are given anew.
    pub fn united<'a>(hosts: impl Iterator<Item = &'a Presence>) -> Self {
        let mut people: BTreeMap<&str, Vec<&Here>> = BTreeMap::new();
        for host in hosts {
            let mut here: BTreeMap<&str, Vec<&Here>> = BTreeMap::new();
            for it in host.screens.values() {
                here.entry(&it.visitor.user).or_default().push(it);
            }
            for (user, screens) in here {
                let most = people.entry(user).or_default();
                if screens.len() > most.len() {
                    *most = screens;
                }
            }
        }
        let mut all: Vec<&Here> = people.into_values().flatten().collect();
        all.sort_by_key(|it| it.since);
        let numbered = (1..).map(ScreenId).zip(all.into_iter().cloned());
        Self { screens: numbered.take(SCREENS_MAX).collect() }
    }

    /// Everybody, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (ScreenId, &Here)> {
        self.screens.iter().map(|(screen, here)| (*screen, here))
    }

    /// How many screens are attached.
    pub fn len(&self) -> usize {
        self.screens.len()
    }

    /// True when nobody is here.
    pub fn is_empty(&self) -> bool {
        self.screens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_is_here_until_they_go() {
        let mut presence = Presence::default();
        let now = Timestamp::UNIX_EPOCH;
        let visitor = Visitor::inside("alice");
        for screen in 1..=SCREENS_MAX as u64 + 1 {
            presence.apply(now, &PresenceFact::Came { screen: ScreenId(screen), visitor: visitor.clone() });
        }
        assert_eq!(presence.len(), SCREENS_MAX);
        presence.apply(now, &PresenceFact::Moved { screen: ScreenId(1), spot: Spot::Logs });
        presence.apply(now, &PresenceFact::Moved { screen: ScreenId(1_000), spot: Spot::Logs });
        let spots: Vec<_> = presence.iter().filter_map(|(screen, here)| Some((screen, here.spot?))).collect();
        assert_eq!(spots, [(ScreenId(1), Spot::Logs)]);
        for screen in 1..=SCREENS_MAX as u64 {
            presence.apply(now, &PresenceFact::Went { screen: ScreenId(screen) });
        }
        assert!(presence.is_empty());
    }
}
