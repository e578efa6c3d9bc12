//! `[[remote]]`: other hosts whose agents a screen attaches to, by the person's own `ssh`.

use crate::domain::sanitise;
use crate::registry::node::Node;

/// The name by which this host is called beside others.
pub const LOCAL: &str = "local";

/// A host with an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// What it is called on the command line.
    pub name: String,
    /// What `ssh` is told: `web1`, `alice@web1`, `ssh://web1:2222` or a `Host` of the ssh config.
    pub ssh: String,
    /// The program there.
    pub hotseat: String,
    /// `--state-dir` there; `None` is the usual one.
    pub state_dir: Option<String>,
    /// An ssh config other than the person's own.
    pub config: Option<String>,
    /// Further words for `ssh`, before the host.
    pub options: Vec<String>,
}

impl Remote {
    /// A host for which nothing but its name is said.
    pub fn of(host: &str) -> Self {
        Self {
            name: host.to_string(),
            ssh: host.to_string(),
            hotseat: "hotseat".into(),
            state_dir: None,
            config: None,
            options: Vec::new(),
        }
    }
}

/// Why something is not what `ssh` can be told as a host; `None` when it is.
pub fn mistake_of_host(host: &str) -> Option<String> {
    let is_bad = |it: char| it.is_whitespace() || it.is_control();
    // `ssh` would take it for an option, whatever stands before it.
    (host.is_empty() || host.starts_with('-') || host.contains(is_bad))
        .then(|| format!("`{}` is no host", sanitise::text(host)))
}

/// Reads one `[[remote]]`.
pub(super) fn read(entry: &Node<'_>) -> Option<Remote> {
    let name = entry.require("name").and_then(|node| {
        let name = node.string()?;
        let is_bad = |it: char| it.is_whitespace() || it.is_control() || it == ',' || it == '/' || it == ':';
        if name.is_empty() || name == LOCAL || name.contains(is_bad) {
            node.error_with_hint(
                format!("`{}` is no name for a host", sanitise::text(&name)),
                format!("use letters, digits, `-`, `_` and `.`; `{LOCAL}` is this host"),
            );
            return None;
        }
        Some(name)
    });
    let ssh = entry.get("ssh").map(|node| {
        let host = node.string()?;
        if let Some(mistake) = mistake_of_host(&host) {
            node.error_with_hint(mistake, "write it as for `ssh`: `web1`, `alice@web1` or a `Host` of your ssh config");
            return None;
        }
        Some(host)
    });
    let word = |key| entry.get(key).map(|it| it.string());
    let (hotseat, state_dir, config) = (word("hotseat"), word("state_dir"), word("config"));
    let options = entry.get("options").map(|it| it.items().iter().map(Node::string).collect::<Option<Vec<_>>>());
    entry.finish(&[]);
    let name = name?;
    let ssh = ssh.unwrap_or_else(|| Some(name.clone()))?;
    Some(Remote {
        name,
        ssh,
        hotseat: hotseat.unwrap_or_else(|| Some("hotseat".into()))?,
        state_dir: state_dir.map_or(Some(None), |it| it.map(Some))?,
        config: config.map_or(Some(None), |it| it.map(Some))?,
        options: options.unwrap_or_else(|| Some(Vec::new()))?,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::config::remotes::Remote;

    #[test]
    fn a_remote_is_called_as_ssh_knows_it_unless_it_says_otherwise() {
        let text = "[[remote]]\nname = \"db1\"\n\n[[remote]]\nname = \"web\"\nssh = \"ops@web1\"\n\
                    hotseat = \"/opt/bin/hotseat\"\nstate_dir = \"/srv/hotseat\"\n";
        let (config, errors) = parse("c.toml", text);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(config.remotes[0], Remote::of("db1"));
        let web = &config.remotes[1];
        assert_eq!((web.ssh.as_str(), web.hotseat.as_str()), ("ops@web1", "/opt/bin/hotseat"));
        assert_eq!(web.state_dir.as_deref(), Some("/srv/hotseat"));
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_no_host() {
        let (config, errors) = parse("c.toml", "[[remote]]\nname = \"a\"\nssh = \"-oProxyCommand=id\"\n");
        assert!(config.remotes.is_empty());
        assert_eq!(errors[0].message, "`-oProxyCommand=id` is no host");
        let (_, errors) = parse("c.toml", "[[remote]]\nname = \"local\"\n");
        assert_eq!(errors[0].message, "`local` is no name for a host");
    }
}
