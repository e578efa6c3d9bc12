//! The systemd unit of an agent: as closed as the config allows, each line with its reason.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::config::agent::GRACE;
use crate::registry::node::{Node, Source};
use crate::service::log::spec::LogInput;

/// Begins the first line; behind it stands the hash of the rest, to tell a unit that a person has changed.
const MARK: &str = "# Written by `hotseat agent install`, hash ";
/// How long systemd waits for a sign of life.
const WATCHDOG_S: u64 = 30;
/// What the agent takes to end beyond the grace of a backup.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// What a unit is made of.
pub struct Plan<'a> {
    /// The program, absolute.
    pub program: &'a Path,
    /// The config file, absolute.
    pub config_file: &'a Path,
    /// The state directory, absolute.
    pub state_dir: &'a Path,
    /// Of the service manager of one user, not of the host.
    pub is_user: bool,
    /// Whose process it is, in a unit of the host.
    pub account: &'a str,
    /// The program path of whoever installs, for commands of the config.
    pub path: &'a str,
    /// What it must be able to do.
    pub config: &'a Config,
}

/// What a config needs of a host.
#[derive(Debug, Default)]
struct Needs {
    /// Written to.
    writes: BTreeSet<PathBuf>,
    /// Read, as far as the config names it.
    reads: BTreeSet<PathBuf>,
    /// Kinds of probes and logs.
    kinds: BTreeSet<String>,
    /// It starts programs.
    commands: bool,
    /// One of them takes the rights of another account.
    takes_rights: bool,
    /// It asks for variables.
    variables: bool,
}

impl Needs {
    fn of(plan: &Plan<'_>) -> Self {
        let config = plan.config;
        let mut needs = Self { variables: config.text.contains("${env:"), ..Self::default() };
        needs.reads.insert(plan.config_file.to_path_buf());
        needs.writes.insert(plan.state_dir.to_path_buf());
        needs.kinds.extend(config.probes.iter().map(|it| it.kind.to_string()));
        for job in &config.backups {
            for destination in &job.destinations {
                needs.writes.insert(PathBuf::from(destination.destination.location()));
            }
            let source = PathBuf::from(job.source.describe());
            // SQLite keeps files beside a database that is in use, also for who only reads.
            let beside = source.parent().filter(|_| job.source.kind() == "sqlite").map(Path::to_path_buf);
            needs.writes.extend(beside);
            needs.reads.insert(source);
        }
        for input in config.logs.iter().flat_map(|it| &it.inputs) {
            match input {
                LogInput::Path(path) => drop(needs.reads.insert(path.clone())),
                LogInput::Pattern(pattern) => drop(needs.reads.insert(PathBuf::from(pattern))),
                LogInput::Stdin | LogInput::Stream(_) | LogInput::Store(_) => {}
            }
        }
        let source = Source::new("config", &config.text);
        if let Some(root) = source.parse() {
            needs.look_at(&root, plan.path);
        }
        needs
    }

    /// Finds the programs that a config starts and the kinds of its logs.
    fn look_at(&mut self, root: &Node<'_>, path: &str) {
        for table in ["probe", "log", "notifier"] {
            let entries = root.peek(table).filter(Node::is_array).map(|it| it.items()).unwrap_or_default();
            for entry in entries.iter().filter(|it| it.is_table()) {
                if table == "log" {
                    self.kinds.extend(entry.keys().into_iter().map(|(key, _)| key));
                }
                let Some(command) = entry.peek("command") else { continue };
                self.commands = true;
                let list = if command.is_table() { command.peek("argv").unwrap_or(command) } else { command };
                let words = if list.is_array() { list.items() } else { vec![list] };
                let program = words.first().and_then(|it| it.raw_str()?.split_whitespace().next().map(str::to_string));
                self.takes_rights |= program.is_some_and(|it| takes_rights(&it, path));
            }
        }
        self.commands |= ["journald", "docker", "podman", "kubernetes", "ssh"].iter().any(|it| self.has(it));
    }

    fn has(&self, kind: &str) -> bool {
        self.kinds.contains(kind)
    }

    fn touches(&self, folders: &[&str]) -> bool {
        let below = |path: &PathBuf| folders.iter().any(|it| path.starts_with(it));
        self.reads.iter().chain(&self.writes).any(below)
    }
}

/// True for a program that runs with the rights of its owner: `sudo`, `check_icmp`.
fn takes_rights(program: &str, path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    const SET_ID: u32 = 0o6000;
    let places: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        std::env::split_paths(path).map(|it| it.join(program)).collect()
    };
    let found = places.iter().find_map(|it| std::fs::metadata(it).ok());
    found.is_some_and(|it| it.permissions().mode() & SET_ID != 0)
}

/// Writes the unit.
pub fn render(plan: &Plan<'_>) -> String {
    let needs = Needs::of(plan);
    let mut unit = Unit::default();
    unit.section("Unit");
    unit.line("Description=hotseat agent: probes, alerts, backups, logs");
    if !plan.is_user {
        unit.note("At boot, a network that is not up yet would be paged for.");
        unit.line("Wants=network-online.target\nAfter=network-online.target");
    }
    unit.note("Who watches is started again for ever.");
    unit.line("StartLimitIntervalSec=0");
    service(&mut unit, plan, &needs);
    files(&mut unit, plan, &needs);
    rights(&mut unit, plan, &needs);
    unit.section("Install");
    unit.line(if plan.is_user { "WantedBy=default.target" } else { "WantedBy=multi-user.target" });
    let hash = hash(&unit.text);
    format!("{MARK}{hash}\n{}", unit.text)
}

/// True when a unit is as it was written, so that nothing of a person is lost with it.
pub fn is_untouched(text: &str) -> bool {
    let Some((first, rest)) = text.split_once('\n') else { return false };
    first.strip_prefix(MARK).is_some_and(|it| it == hash(rest))
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|it| format!("{it:02x}")).collect()
}

fn service(unit: &mut Unit, plan: &Plan<'_>, needs: &Needs) {
    unit.section("Service");
    unit.note("It says when it watches, and every few seconds that it still does.");
    unit.line(&format!("Type=notify\nNotifyAccess=main\nWatchdogSec={WATCHDOG_S}"));
    let words = [
        quoted(&plan.program.display().to_string()),
        "--config".into(),
        quoted(&plan.config_file.display().to_string()),
        "--state-dir".into(),
        quoted(&plan.state_dir.display().to_string()),
        "agent --wait".into(),
    ];
    unit.line(&format!("ExecStart={}\nExecReload=kill -HUP $MAINPID", words.join(" ")));
    if !plan.is_user {
        unit.line(&format!("User={}", plan.account));
    }
    unit.line("Restart=on-failure\nRestartSec=5");
    let stop = plan.config.agent.grace.unwrap_or(GRACE) + STOP_MARGIN;
    unit.note("A running backup gets its grace to end; programs that it started are not torn away from it.");
    unit.line(&format!("TimeoutStopSec={}\nKillMode=mixed", stop.as_secs()));
    unit.note("A program of a probe that runs out of memory must not take the watch with it.");
    unit.line("OOMPolicy=continue");
    if needs.variables {
        let file = plan.config_file.with_file_name("agent.env");
        unit.note(
            "The config takes values from the environment (`${env:…}`): write them here, `NAME=value`, mode 0600.",
        );
        unit.line(&format!("EnvironmentFile=-{}", escaped(&file.display().to_string())));
    }
    if needs.commands {
        unit.note("Where the programs of the config are looked for.");
        unit.line(&format!("Environment={}", quoted(&format!("PATH={}", plan.path))));
    }
    unit.note("What the memory of screens that have gone is kept in: two places instead of one for each thread.");
    unit.line("Environment=MALLOC_ARENA_MAX=2");
    // Without it glibc takes the largest piece that was ever freed for the new measure, see `mallopt(3)`.
    unit.note("Pieces of a MiB and more, as long lines of screens are, go back to the system when they are done with.");
    unit.line("Environment=MALLOC_MMAP_THRESHOLD_=1048576");
    unit.note("One file a log, a few a screen.");
    unit.line("LimitNOFILE=16384");
    unit.note("Everything that it writes is its account's alone.");
    unit.line("UMask=0077");
}

fn files(unit: &mut Unit, plan: &Plan<'_>, needs: &Needs) {
    unit.note(
        "The whole system is read-only but for the state and where backups go. For one more place: `systemctl edit`.",
    );
    unit.line("ProtectSystem=strict");
    let writes: BTreeSet<PathBuf> = needs.writes.iter().filter_map(|it| nearest(it)).collect();
    for path in writes {
        unit.line(&format!("ReadWritePaths={}", quoted(&format!("-{}", path.display()))));
    }
    let homes = ["/home", "/root", "/run/user"];
    let uses_home = plan.is_user || needs.commands || needs.touches(&homes);
    if uses_home {
        unit.note("The config, the state or programs of the config (their keys and settings) are in a home.");
        unit.line("ProtectHome=read-only");
    } else {
        unit.line("ProtectHome=yes");
    }
    if needs.touches(&["/tmp", "/var/tmp"]) {
        unit.note("No PrivateTmp: the config names a path below `/tmp`.");
    } else {
        unit.line("PrivateTmp=yes");
    }
    if needs.touches(&["/dev"]) {
        unit.note("No PrivateDevices and ProtectKernelLogs: the config names a path below `/dev`.");
    } else if !plan.is_user {
        unit.line("PrivateDevices=yes\nProtectKernelLogs=yes");
    }
}

fn rights(unit: &mut Unit, plan: &Plan<'_>, needs: &Needs) {
    let mut groups = Vec::new();
    if needs.has("journald") {
        groups.push("systemd-journal");
    }
    if needs.has("docker") {
        groups.push("docker");
    }
    if !groups.is_empty() && plan.account != "root" {
        if plan.is_user {
            unit.note(&format!("Logs of the config need this account in the group: {}.", groups.join(", ")));
        } else {
            unit.note("Logs of the config are read by these groups.");
            unit.line(&format!("SupplementaryGroups={}", groups.join(" ")));
        }
    }
    if needs.takes_rights {
        unit.note(
            "No NoNewPrivileges and no RestrictSUIDSGID: a command of the config runs with the rights of its owner.",
        );
    } else {
        unit.line("NoNewPrivileges=yes\nRestrictSUIDSGID=yes");
    }
    if !plan.is_user && !needs.takes_rights {
        if needs.has("icmp") {
            unit.note("Echo requests need this where `net.ipv4.ping_group_range` leaves the account out.");
            unit.line("CapabilityBoundingSet=CAP_NET_RAW\nAmbientCapabilities=CAP_NET_RAW");
        } else {
            unit.line("CapabilityBoundingSet=");
        }
    }
    if !plan.is_user {
        unit.line("ProtectClock=yes\nProtectHostname=yes\nProtectKernelModules=yes\nProtectKernelTunables=yes");
        unit.line("ProtectControlGroups=yes");
        if needs.has("host") || needs.commands {
            unit.note("No ProtectProc: probes of the config look at other processes.");
        } else {
            unit.line("ProtectProc=invisible");
        }
    }
    unit.note("Internet, the sockets of this host, and the kernel's list of addresses.");
    unit.line("RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK");
    unit.line("LockPersonality=yes\nRestrictRealtime=yes");
    if needs.commands {
        unit.note(
            "No MemoryDenyWriteExecute, RestrictNamespaces and SystemCallFilter: programs of the config may need more.",
        );
    } else {
        unit.line("MemoryDenyWriteExecute=yes\nRestrictNamespaces=yes");
        unit.line("SystemCallArchitectures=native\nSystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM");
    }
}

/// The path itself, or the nearest folder on the way to it that is there: what is missing cannot be opened for writing.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .find(|it| it.is_absolute() && it.exists())
        .filter(|it| *it != Path::new("/"))
        .map(Path::to_path_buf)
}

/// A word of a unit: `%` begins a specifier, `$` a variable.
fn escaped(word: &str) -> String {
    word.replace('%', "%%").replace('$', "$$")
}

fn quoted(word: &str) -> String {
    let word = escaped(word);
    if word.contains(|it: char| it.is_whitespace() || "\"'\\;".contains(it)) {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        word
    }
}

#[derive(Default)]
struct Unit {
    text: String,
}

impl Unit {
    fn section(&mut self, name: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{gap}[{name}]");
    }

    fn note(&mut self, note: &str) {
        let _ = writeln!(self.text, "# {note}");
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str, is_user: bool) -> String {
        let (config, errors) = crate::config::parse("c.toml", text);
        assert!(errors.is_empty(), "{errors:?}");
        render(&Plan {
            program: Path::new("/usr/bin/hotseat"),
            config_file: Path::new("/etc/hotseat/con fig.toml"),
            state_dir: Path::new("/var"),
            is_user,
            account: "watch",
            path: "/usr/bin",
            config: &config,
        })
    }

    #[test]
    fn a_config_that_needs_little_gets_little() {
        let unit = unit("[[probe]]\nname = 'a'\ntcp = '127.0.0.1:1'\n", false);
        for line in [
            "Type=notify",
            "ExecStart=/usr/bin/hotseat --config \"/etc/hotseat/con fig.toml\" --state-dir /var agent --wait",
            "ProtectSystem=strict",
            "ReadWritePaths=-/var",
            "ProtectHome=yes",
            "PrivateTmp=yes",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "SystemCallFilter=@system-service",
            "User=watch",
        ] {
            assert!(unit.lines().any(|it| it == line), "{line}\n{unit}");
        }
    }

    #[test]
    fn what_the_config_needs_stays_open() {
        let text = "[[probe]]\nname = 'a'\nicmp = '127.0.0.1'\n[[log]]\nname = 'j'\njournald = true\n\
                    [[log]]\nname = 't'\nfile = '/tmp/x.log'\n";
        let system = unit(text, false);
        for line in ["AmbientCapabilities=CAP_NET_RAW", "SupplementaryGroups=systemd-journal", "ProtectHome=read-only"]
        {
            assert!(system.lines().any(|it| it == line), "{line}\n{system}");
        }
        for key in ["PrivateTmp=", "SystemCallFilter=", "MemoryDenyWriteExecute="] {
            assert!(!system.lines().any(|it| it.starts_with(key)), "{key}\n{system}");
        }
        let user = unit(text, true);
        assert!(!user.contains("User=") && !user.contains("SupplementaryGroups=") && user.contains("default.target"));
    }

    #[test]
    fn a_unit_that_a_person_changed_is_known() {
        let unit = unit("", true);
        assert!(is_untouched(&unit));
        assert!(!is_untouched(&unit.replace("WatchdogSec=30", "WatchdogSec=60")));
        assert!(!is_untouched("[Unit]\n"));
    }
}
