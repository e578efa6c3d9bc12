//! `[agent]`: what only `hotseat agent` does, beside watching.

use std::net::SocketAddr;
use std::time::Duration;

use crate::domain::sanitise;
use crate::registry::node::Node;
use crate::service::notify::http::{Endpoint, read_url};

/// What a running backup gets to end when the agent is stopped.
pub const GRACE: Duration = Duration::from_secs(20);
/// Longest grace: a host that is shut down does not wait longer either.
pub const GRACE_MAX: Duration = Duration::from_secs(3600);
/// How often the agent says that it is well.
const BEAT_EVERY: Duration = Duration::from_secs(60);
/// The shortest and the longest time between two of these: who waits for them is on a network.
const BEAT_RANGE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(24 * 3600));

/// `[agent]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agent {
    /// Where `/metrics` and `/healthz` are served.
    pub metrics: Option<SocketAddr>,
    /// Where it is said that the agent is well.
    pub beat: Option<Beat>,
    /// What a running backup gets to end; [`GRACE`] when it is not said.
    pub grace: Option<Duration>,
}

/// A dead man's switch: a URL that raises an alarm when it is not called any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Beat {
    /// Where; who knows it can call it, so it is a secret.
    pub endpoint: Endpoint,
    /// How often.
    pub every: Duration,
}

impl std::fmt::Debug for Beat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beat").field("endpoint", &self.endpoint.shown()).field("every", &self.every).finish()
    }
}

/// Reads `[agent]`. Mistakes are reported through the node.
pub fn read(table: &Node<'_>) -> Agent {
    let is_public = table.get("public").and_then(|it| it.boolean()).unwrap_or(false);
    let metrics = table.get("metrics").and_then(|it| read_address(&it, is_public));
    let every = table.get("every");
    let pace = every.as_ref().map_or(Some(BEAT_EVERY), read_pace);
    let beat = table.get("beat").and_then(|it| {
        let text = it.secret()?;
        let url = read_url(&it, &text, false)?;
        Some(Endpoint { url, authorities: None, secrets: Vec::new(), url_is_secret: true })
    });
    if let (Some(every), false) = (&every, table.peek("beat").is_some()) {
        every.error_with_hint(
            "`every` says how often `beat` is called, and there is no `beat`",
            "add it, or remove this line",
        );
    }
    let grace = table.get("grace").and_then(|it| {
        let grace = it.duration()?;
        if grace > GRACE_MAX {
            it.error_with_hint(
                "`grace` must be at most `1h`",
                "a stop that takes longer is killed by most service managers",
            );
            return None;
        }
        Some(grace)
    });
    table.finish(&[]);
    let beat = beat.zip(pace).map(|(endpoint, every)| Beat { endpoint, every });
    Agent { metrics, beat, grace }
}

fn read_address(node: &Node<'_>, is_public: bool) -> Option<SocketAddr> {
    let text = node.string()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        node.error_with_hint(
            format!("`{}` is no address and port", sanitise::text(&text)),
            "write an address of this host and a port, as in `127.0.0.1:9464`",
        );
        return None;
    };
    if !address.ip().is_loopback() && !is_public {
        node.error_with_hint(
            format!("`{address}` can be reached from other hosts, and who asks is not asked for a password"),
            "write `127.0.0.1:9464`, or add `public = true` if that is meant",
        );
        return None;
    }
    Some(address)
}

fn read_pace(node: &Node<'_>) -> Option<Duration> {
    let pace = node.duration()?;
    if pace < BEAT_RANGE.0 || pace > BEAT_RANGE.1 {
        node.error_with_hint("`every` must be from `5s` to `24h`", "`1m` suits most services that wait for it");
        return None;
    }
    Some(pace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Agent, Vec<String>) {
        let (config, errors) = crate::config::parse("c.toml", &format!("[agent]\n{text}\n"));
        (config.agent, errors.into_iter().map(|it| it.message).collect())
    }

    #[test]
    fn without_a_word_nothing_is_served_and_nothing_sent() {
        assert_eq!(check(""), (Agent::default(), Vec::new()));
    }

    #[test]
    fn metrics_stay_on_this_host_unless_it_is_said() {
        let (agent, errors) = check("metrics = '127.0.0.1:9464'");
        assert_eq!((agent.metrics.map(|it| it.port()), errors.len()), (Some(9464), 0));
        let (agent, errors) = check("metrics = '0.0.0.0:9464'");
        assert!(agent.metrics.is_none() && errors[0].contains("other hosts"), "{errors:?}");
        let (agent, errors) = check("metrics = '0.0.0.0:9464'\npublic = true");
        assert!(agent.metrics.is_some() && errors.is_empty());
        assert_eq!(check("metrics = ':9464'").1, ["`:9464` is no address and port"]);
    }

    #[test]
    fn a_beat_is_a_secret_with_a_pace() {
        let (agent, errors) = check("beat = 'https://hc.example/ping/0123456789abcdef'");
        let beat = agent.beat.expect("a beat");
        assert_eq!((beat.every, errors.len()), (BEAT_EVERY, 0));
        assert!(!format!("{beat:?}").contains("0123456789"), "{beat:?}");
        let (agent, errors) = check("beat = 'https://hc.example/x'\nevery = '1s'");
        assert!(agent.beat.is_none() && errors == ["`every` must be from `5s` to `24h`"], "{errors:?}");
        assert_eq!(check("beat = 'http://hc.example/x'").1, ["a secret would travel in the clear"]);
        assert_eq!(check("every = '1m'").1.len(), 1);
    }
}
