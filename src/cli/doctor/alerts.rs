//! What alerts need: the store, the notifiers, pings, and secrets that only we can read.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::cli::Context;
use crate::cli::doctor::Finding;
use crate::clock;
use crate::config::{Loaded, secrets};
use crate::domain::format;
use crate::registry::node::Commands;
use crate::runtime::journal;
use crate::service::probe::icmp::ways;
use crate::store::database;
use crate::store::reader::Reader;

/// Everything about alerts.
pub(super) fn findings(cx: &Context) -> Vec<Finding> {
    let loaded = cx.load(Commands::Defer);
    let state_dir = cx.state_dir();
    let mut findings = vec![store(&state_dir)];
    findings.extend(notifiers(&loaded, &state_dir));
    findings.push(icmp(ways::open(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_ok()));
    findings.extend(loaded.config.path.as_deref().map(|it| exposed(it, &loaded)));
    findings
}

/// Reads what waits in the outbox: that it can be read is what matters.
fn store(state_dir: &Path) -> Finding {
    let path = state_dir.join(database::FILE_NAME);
    let Ok(metadata) = fs::metadata(&path) else {
        return Finding::ok("store", format!("none yet ({})", path.display()));
    };
    match Reader::new(state_dir, None).waiting() {
        Ok(waiting) => {
            let unsent = match waiting.len() as u64 {
                0 => "nothing unsent".to_string(),
                count => format!("{} unsent", format::plural(count, "message")),
            };
            Finding::ok("store", format!("{}, {}, {unsent}", path.display(), format::bytes(metadata.len())))
        }
        Err(error) => Finding::fail(
            "store",
            error.to_string(),
            "alerts are sent from memory until it can be used; `hotseat status` and probes go on without it",
        ),
    }
}

/// Which there are, which are not used for a mistake, and which of them did not take the last message.
fn notifiers(loaded: &Loaded, state_dir: &Path) -> Option<Finding> {
    let config = &loaded.config;
    // An entry that waits for a command is none with a mistake.
    if !loaded.deferred && !config.refused_notifiers.is_empty() {
        let quoted: Vec<String> = config.refused_notifiers.iter().map(|it| format!("`{it}`")).collect();
        let found = format!("not used because of a mistake in the config: {}", quoted.join(", "));
        return Some(Finding::fail("notifiers", found, "nobody is told through them; run `hotseat check` to see why"));
    }
    if config.notifiers.is_empty() {
        return None;
    }
    let names: Vec<&str> = config.notifiers.iter().map(|it| it.name.as_str()).collect();
    let board = journal::replay(state_dir, clock::now()).ok().flatten().map(|it| it.board).unwrap_or_default();
    let ill: Vec<String> = board
        .alerts
        .notifiers()
        .iter()
        .filter(|(name, it)| !it.is_well() && names.contains(&name.as_str()))
        .map(|(name, it)| format!("`{name}` ({})", it.error.as_deref().unwrap_or("no reason given")))
        .collect();
    if ill.is_empty() {
        return Some(Finding::ok("notifiers", names.join(", ")));
    }
    let hint = "run `hotseat test-notify NAME`; `hotseat alerts` shows what waits";
    Some(Finding::warn("notifiers", format!("the last attempt failed: {}", ill.join(", ")), hint))
}

fn icmp(has_socket: bool) -> Finding {
    if has_socket {
        return Finding::ok("icmp", "by sockets of our own");
    }
    Finding::warn(
        "icmp",
        "the kernel gives us no socket for pings; `ping` is run, else TCP is tried, and the probe says so",
        "run `sysctl -w net.ipv4.ping_group_range='0 2147483647'` to allow it",
    )
}

fn exposed(file: &str, loaded: &Loaded) -> Finding {
    let hint = format!("run `chmod 600 {file}`, or put them elsewhere: `${{file:/path}}`, `${{env:NAME}}`");
    if let count @ 1.. = loaded.errors.iter().filter(|it| secrets::is_refusal(it)).count() as u64 {
        let secrets = format::plural(count, "secret");
        return Finding::fail(
            "secrets",
            format!("{secrets} refused: every user of this host can read the config"),
            hint,
        );
    }
    match secrets::warnings(file, &loaded.config.text).len() as u64 {
        0 => Finding::ok("secrets", "none that others on this host can read in the config"),
        count => Finding::warn(
            "secrets",
            format!("others on this host can read {} in the config", format::plural(count, "secret")),
            hint,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    #[test]
    fn a_store_that_cannot_be_read_is_a_failure_and_none_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(store(dir.path()).state, State::Ok);
        fs::write(dir.path().join(database::FILE_NAME), vec![b'x'; 8192]).expect("written");
        assert_eq!(store(dir.path()).state, State::Fail);
    }

    #[test]
    fn a_secret_that_others_can_read_is_counted_and_not_shown() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("c.toml");
        let name = file.display().to_string();
        let header = "[[probe]]\nname = 'a'\nhttp = { url = 'http://x', headers = { Authorization = 'abc123' } }\n";
        let slack = "[[notifier]]\nname = 'chat'\nslack = 'https://hooks.slack.com/services/T1/B1/abc123'\n";
        let cases = [
            // `check` calls this a mistake.
            (header, 0o644, State::Fail),
            // Only a group reads it.
            (header, 0o640, State::Warn),
            (header, 0o600, State::Ok),
            (slack, 0o644, State::Fail),
            (slack, 0o640, State::Ok),
        ];
        for (text, mode, state) in cases {
            fs::write(&file, text).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            let loaded = crate::config::read_text(&name, text, Commands::Defer);
            let finding = exposed(&name, &loaded);
            assert_eq!(finding.state, state, "{}", finding.text());
            assert_eq!(finding.text().contains("chmod 600"), state != State::Ok);
            assert!(!finding.text().contains("abc123"));
            let notifiers = notifiers(&loaded, dir.path()).map(|it| it.state);
            let expected = (text == slack).then_some(if state == State::Fail { State::Fail } else { State::Ok });
            assert_eq!(notifiers, expected);
        }
    }

    #[test]
    fn without_a_socket_for_pings_it_is_said_what_to_do() {
        assert_eq!((icmp(true).state, icmp(false).state), (State::Ok, State::Warn));
    }
}
