//! Runs a probe in the screen's own process, by the screen's own config: what the agent sees may be only its own view.
//!
//! A probe that this config lacks is built of what the agent shows of it anyway: kind, target, expectations. That is no
//! entry of a config: it holds no header, no credential, no program and no file, and one that names any is not taken.

use crate::app::event::{Event, RanHere};
use crate::config;
use crate::domain::config_error::did_you_mean;
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::probe::ProbeSetup;
use crate::domain::probe::expect::MASK;
use crate::domain::sanitise;
use crate::registry::node::Commands;
use crate::service::probe::run::run_once;
use crate::service::probe::{Place, ProbeSpec, dns, heartbeat, http, icmp, logs, tcp, tls, websocket};
use crate::tui::carry_out::{TASKS_MAX, warn};
use crate::tui::event_loop::EventLoop;

/// Longest run of a probe that somebody else describes, in milliseconds.
const TIMEOUT_MAX_MS: u128 = 30_000;
/// Expectations that are taken over; nobody writes so many.
const EXPECTATIONS_MAX: usize = 64;

impl EventLoop<'_> {
    /// Starts a run, which ends by the deadline of the probe; says why when it cannot be run here. `shown` is how the
    /// agent says that it looks.
    pub(super) fn run_here(&mut self, probe: ProbeId, shown: Option<&ProbeSetup>) -> Option<Event> {
        let found = match &self.config_rx {
            Some(config_rx) => find(&config_rx.borrow().probes, &probe, shown),
            // A screen of other hosts alone reads none.
            None => find(&[], &probe, shown),
        };
        let Found { spec, as_shown } = match found {
            Ok(found) => found,
            Err(why) => return Some(Event::RanHere { probe, ran: Err(why) }),
        };
        if self.tasks.len() >= TASKS_MAX {
            return Some(warn("too much is under way for that; press the key again".into()));
        }
        let place = Place::alone(HostId::new(probe.host()), &self.options.state_dir);
        self.tasks.spawn(async move {
            let outcome = run_once(&spec, &place, std::time::Duration::ZERO).await;
            let (kind, target) = (spec.kind.to_string(), spec.probe.target());
            Event::RanHere { probe, ran: Ok(Box::new(RanHere { kind, target, outcome, as_shown })) }
        });
        None
    }
}

/// A probe that can be run here.
struct Found {
    spec: ProbeSpec,
    as_shown: bool,
}

/// Finds the probe of this name in this screen's config, else builds it of what is shown of it, when it can be run
/// anywhere but at the agent.
fn find(probes: &[ProbeSpec], probe: &ProbeId, shown: Option<&ProbeSetup>) -> Result<Found, String> {
    let name = sanitise::text(probe.name());
    let Some(spec) = probes.iter().find(|it| it.name == probe.name()) else {
        let why = match shown.map(|it| of_shown(probe, it)) {
            Some(Ok(spec)) => return Ok(Found { spec, as_shown: true }),
            Some(Err(why)) => why,
            None => "the agent does not show how it looks".to_string(),
        };
        let near = did_you_mean(probe.name(), probes.iter().map(|it| it.name.as_str()));
        let near = near.map_or(String::new(), |it| format!("; there is a `{}`", sanitise::text(it)));
        return Err(format!(
            "the config of this screen has no probe `{name}`{near}, and {why}: copy its entry from the config of `{}`",
            sanitise::text(probe.host())
        ));
    };
    if spec.kind == logs::KIND.name || spec.kind == heartbeat::KIND.name {
        return Err(format!("a `{}` probe looks at what its agent itself reads or hears", spec.kind));
    }
    Ok(Found { spec: spec.clone(), as_shown: false })
}

/// Builds a probe of what is shown of it. Only kinds that go over the network and change nothing there; what is shown
/// comes from another process, perhaps of another host, and may be anything.
fn of_shown(probe: &ProbeId, shown: &ProbeSetup) -> Result<ProbeSpec, String> {
    // JSON's texts are TOML's as well.
    let quoted = |it: &str| serde_json::Value::from(it).to_string();
    let whole = |it: &str| !it.contains([' ', '…']) && !it.contains(MASK);
    let target = match shown.kind.as_str() {
        kind if [http::KIND, tcp::KIND, tls::KIND, websocket::KIND, icmp::KIND].iter().any(|it| it.name == kind) => {
            if !whole(&shown.target) {
                return Err(format!("of its target no more than `{}` is shown", sanitise::text(&shown.target)));
            }
            quoted(&shown.target)
        }
        kind if kind == dns::KIND.name => question(&shown.target, quoted)
            .ok_or_else(|| format!("what it asks is not understood: `{}`", sanitise::text(&shown.target)))?,
        kind => return Err(format!("a `{}` probe is not run anywhere but at its agent", sanitise::text(kind))),
    };
    let list = |of: &[String]| of.iter().take(EXPECTATIONS_MAX).map(|it| quoted(it)).collect::<Vec<_>>().join(", ");
    let text = format!(
        "[[probe]]\nname = {}\n{} = {target}\ntimeout = \"{}ms\"\nexpect = [{}]\nprefer = [{}]\n",
        quoted(probe.name()),
        shown.kind,
        shown.timeout.as_millis().clamp(1, TIMEOUT_MAX_MS),
        list(&shown.expect),
        list(&shown.prefer),
    );
    // A file, a variable or a program of this account: nobody else names one.
    if text.contains("${") {
        return Err("what is shown of it names something of its own host".to_string());
    }
    let mut loaded = config::read_text("the agent", &text, Commands::Defer);
    match (loaded.config.probes.pop(), loaded.errors.first()) {
        (Some(spec), None) => Ok(spec),
        (_, Some(error)) => Err(format!("what is shown of it is not understood: {}", sanitise::text(&error.message))),
        (None, None) => Err("what is shown of it is not understood".to_string()),
    }
}

/// A question to a name server as `dns` takes it, of `A api.example.com at 10.0.0.2`.
fn question(shown: &str, quoted: impl Fn(&str) -> String) -> Option<String> {
    let (asked, server) = shown.split_once(" at ")?;
    let (kind, name) = asked.split_once(' ')?;
    // Which one that is differs from host to host: that is what is to be found out.
    let own = server == dns::OWN_SERVER;
    let server = if own { String::new() } else { format!(", server = {}", quoted(server)) };
    Some(format!("{{ name = {}, type = {}{server} }}", quoted(name), quoted(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn probes(text: &str) -> Vec<ProbeSpec> {
        let (config, errors) = parse("c.toml", text);
        assert!(errors.is_empty(), "{errors:?}");
        config.probes
    }

    fn id(name: &str) -> ProbeId {
        ProbeId::new(&HostId::new("web-1"), name)
    }

    /// What an agent shows of the first probe of a config.
    fn shown(text: &str) -> ProbeSetup {
        probes(text).first().expect("a probe").setup()
    }

    #[test]
    fn the_screens_own_entry_is_taken_before_what_is_shown() {
        let own = probes("[[probe]]\nname = 'api'\ntcp = '192.0.2.1:80'\n");
        let theirs = shown("[[probe]]\nname = 'api'\ntcp = '192.0.2.2:80'\n");
        let found = find(&own, &id("api"), Some(&theirs)).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((found.spec.probe.target().as_str(), found.as_shown), ("192.0.2.1:80", false));
        let found = find(&[], &id("api"), Some(&theirs)).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((found.spec.probe.target().as_str(), found.as_shown), ("192.0.2.2:80", true));
    }

    #[test]
    fn what_is_built_looks_at_the_same_as_what_is_shown() {
        for entry in [
            "http = 'https://api.example.com:8443/health'\nexpect = [\"status == 200\", \"cert.days > 7\"]\nprefer = ['total < 800ms']",
            "tcp = '[2001:db8::1]:25'",
            "tls = 'api.example.com:443'\nexpect = ['cert.days > 7']",
            "websocket = 'wss://feed.example.com/ws'",
            "icmp = '192.0.2.1'\nexpect = 'loss < 50'",
            "dns = 'api.example.com'",
            "dns = { name = 'api.example.com', type = 'AAAA', server = '192.0.2.53' }",
            "dns = { name = 'api.example.com', type = 'MX', server = '192.0.2.53:5353' }",
        ] {
            let theirs = shown(&format!("[[probe]]\nname = 'a \"b\"'\n{entry}\ntimeout = '1500ms'\n"));
            let ours = of_shown(&id("a \"b\""), &theirs).unwrap_or_else(|why| panic!("{entry}: {why}")).setup();
            assert_eq!(
                (ours.kind, ours.target, ours.expect, ours.prefer, ours.timeout),
                (theirs.kind, theirs.target, theirs.expect, theirs.prefer, theirs.timeout),
                "{entry}"
            );
        }
    }

    #[test]
    fn what_another_host_shows_runs_no_program_and_reads_no_file_here() {
        let tcp = || shown("[[probe]]\nname = 'api'\ntcp = '192.0.2.2:80'\n");
        let says = |setup: ProbeSetup| of_shown(&id("api"), &setup).err().expect("refused");
        for kind in ["command", "host", "journey", "pool", "logs", "heartbeat", "x = 1\ncommand"] {
            let why = says(ProbeSetup { kind: kind.into(), target: "rm -rf /".into(), ..tcp() });
            assert!(why.ends_with("is not run anywhere but at its agent"), "{kind}: {why}");
        }
        let references = ["${file:/etc/hotseat/token}", "${env:HOME}", "${cmd:id}"];
        for reference in references {
            let why = says(ProbeSetup { expect: vec![format!("reply contains '{reference}'")], ..tcp() });
            assert_eq!(why, "what is shown of it names something of its own host");
            let why = says(ProbeSetup { target: format!("{reference}:80"), ..tcp() });
            assert_eq!(why, "what is shown of it names something of its own host");
        }
        // What is not shown as a whole is not guessed, and nothing is changed anywhere.
        for (kind, target) in [
            ("http", "https://api.example.com/?…"),
            ("http", "POST https://api.example.com/orders"),
            ("http", "https://alice:***@api.example.com/"),
            ("tcp", "192.0.2.2:80\"\ncommand = [\"id\"]\nx = \""),
        ] {
            says(ProbeSetup { kind: kind.into(), target: target.into(), ..tcp() });
        }
        assert!(find(&[], &id("api"), None).is_err());
        let own = probes("[[probe]]\nname = 'apis'\ntcp = '192.0.2.1:80'\n");
        let command = ProbeSetup { kind: "command".into(), ..tcp() };
        let why = find(&own, &id("api"), Some(&command)).err().expect("refused");
        assert!(
            why.contains("there is a `apis`") && why.ends_with("copy its entry from the config of `web-1`"),
            "{why}"
        );
    }
}
