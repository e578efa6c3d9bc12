//! Who may attach, and by what name: the kernel says whose process is at the other end of the socket.
//!
//! Our own account is often shared by a team, so that there the name that a screen says counts, as it does when the
//! screen runs the runtime itself. Another account is let in only when the state is shared, and then by its login:
//! what it says of itself could be anybody.

use crate::config::paths;
use crate::domain::presence::{Via, Visitor};

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Our own account, or root, who could be it.
    Own,
    /// Another account that may come in, by its login.
    Other(String),
}

/// Longest address of an ssh client; IPv6 with a zone is shorter.
const ADDRESS_MAX_CHARS: usize = 64;
/// Longest name of a terminal or process; `pts/` and a number are shorter.
const SEAT_MAX_CHARS: usize = 24;

impl Caller {
    /// Decides whether a process of `uid` may talk to one of `ours`. Whose group the socket is for was asked by the
    /// kernel already: it is not opened by others.
    ///
    /// # Errors
    /// When it may not; why, in words.
    pub fn of(uid: u32, ours: u32, is_shared: bool) -> Result<Self, String> {
        if uid == ours || uid == 0 {
            return Ok(Self::Own);
        }
        let login = login(uid);
        if is_shared {
            return Ok(Self::Other(login));
        }
        let owner = self::login(ours);
        Err(format!(
            "this hotseat is `{owner}`'s alone and you are `{login}` (ask `{owner}` to set `share`, or run your own)"
        ))
    }

    /// As whom a screen is recorded, given what it says.
    pub fn visitor(&self, said: &Visitor) -> Visitor {
        let user = match self {
            Self::Own => Some(paths::clean_name(&said.user)).filter(|it| !it.is_empty()),
            Self::Other(login) => Some(login.clone()),
        };
        let via = match &said.via {
            // Nobody on the socket is inside.
            Via::Inside | Via::Local => Via::Local,
            Via::Ssh(address) => Via::Ssh(clean_address(address)),
        };
        let seat = said.seat.as_deref().map(clean_seat).filter(|it| !it.is_empty());
        Visitor { user: user.unwrap_or_else(|| "unnamed".into()), readonly: said.readonly, via, seat }
    }
}

fn login(uid: u32) -> String {
    paths::login_of(uid).unwrap_or_else(|| format!("uid-{uid}"))
}

fn clean_seat(seat: &str) -> String {
    let kept = seat.chars().filter(|it| it.is_ascii_alphanumeric() || " /._-".contains(*it));
    kept.take(SEAT_MAX_CHARS).collect::<String>().trim().to_string()
}

fn clean_address(address: &str) -> String {
    let kept = address.chars().filter(|it| it.is_ascii_alphanumeric() || ".:%_-".contains(*it));
    kept.take(ADDRESS_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: u32 = 65_534;
    const UNKNOWN: u32 = 4_000_123_456;

    fn said(user: &str) -> Visitor {
        Visitor { readonly: true, ..Visitor::inside(user) }
    }

    #[test]
    fn our_own_account_and_root_are_called_what_they_say() {
        for uid in [UNKNOWN, 0] {
            let caller = Caller::of(uid, UNKNOWN, false).expect("let in");
            let visitor = caller.visitor(&said(" ../al\u{1b}[31mice\u{202e}"));
            assert_eq!(visitor, Visitor { via: Via::Local, ..said("al31mice") });
            assert_eq!(caller.visitor(&said("\u{7}")).user, "unnamed");
        }
    }

    #[test]
    fn another_account_comes_in_only_where_it_is_shared_and_by_its_login() {
        let refused = Caller::of(UNKNOWN, NOBODY, false).expect_err("not shared");
        assert!(refused.contains("you are `uid-4000123456`"), "{refused}");
        let caller = Caller::of(UNKNOWN, NOBODY, true).expect("shared");
        assert_eq!(caller.visitor(&said("root")).user, "uid-4000123456");
    }

    #[test]
    fn an_address_is_only_an_address() {
        let far = Visitor { via: Via::Ssh("fe80::1%eth0 \u{1b}[2J".into()), ..said("bob") };
        assert_eq!(Caller::Own.visitor(&far).via, Via::Ssh("fe80::1%eth02J".into()));
    }

    #[test]
    fn a_seat_is_a_short_name_or_none() {
        let seat = |it: &str| Caller::Own.visitor(&Visitor { seat: Some(it.into()), ..said("bob") }).seat;
        assert_eq!(seat("pts/3\u{1b}[2J").as_deref(), Some("pts/32J"));
        assert_eq!(seat(&"9".repeat(1_000)).map(|it| it.len()), Some(SEAT_MAX_CHARS));
        assert_eq!((seat("\u{202e} \n"), Caller::Own.visitor(&said("bob")).seat), (None, None));
    }
}
