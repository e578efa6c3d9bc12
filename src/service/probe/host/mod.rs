//! `host = "load"`, `host = { disk = "/" }`: this host itself, without a plugin.
//!
//! One kind with a check in it, because they belong together: load, memory, swap, disk, pressure, interface,
//! unit, process, port. What each finds can be compared by `expect` and `prefer` and is kept as numbers for
//! the graphs. Reading is done aside with a deadline: a network file system that is gone hangs for ever.

mod look;
pub mod parse;

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use regex::Regex;
use tokio::sync::Mutex;

use crate::clock;
use crate::domain::probe::expect::{Field, FieldKind, Subjects};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Phase, ProbeResult, Trouble};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::host::look::{Before, Hanging};
use crate::service::probe::net::{self, Verdict};
use crate::service::probe::{Observing, Probe, Run};

/// `host` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "host",
    summary: "this host: load, memory, swap, disk, pressure, interface, unit, process or port",
    example: "[[probe]]\nname = \"root disk\"\nhost = { disk = \"/\" }\nexpect = \"free > 5\"\nprefer = \"free > 10\"\n",
    build,
};

/// The checks there are, each with what it can be given.
const CHECKS: &[&str] = &["load", "memory", "swap", "disk", "pressure", "interface", "unit", "process", "port"];

const fn number(name: &'static str) -> Field {
    Field { name, kind: FieldKind::Number }
}

const fn text(name: &'static str) -> Field {
    Field { name, kind: FieldKind::Text }
}

const LOAD: &[Field] = &[number("load1"), number("load5"), number("load15"), number("per_core")];
const MEMORY: &[Field] = &[number("available"), number("available_mib"), number("used")];
const SWAP: &[Field] = &[number("used"), number("used_mib")];
const DISK: &[Field] = &[number("used"), number("free"), number("free_gib"), number("inodes"), number("read_only")];
const PRESSURE: &[Field] = &[number("some"), number("full")];
const INTERFACE: &[Field] = &[number("rx_mbit"), number("tx_mbit"), number("errors"), number("drops"), text("state")];
const UNIT: &[Field] = &[text("active"), text("sub"), text("result"), number("restarts"), number("exit")];
const PROCESS: &[Field] = &[number("count"), number("rss_mib")];
const PORT: &[Field] = &[number("listening")];

/// One check of this host.
#[derive(Debug, Clone)]
enum Check {
    Load,
    Memory,
    Swap,
    /// One mount point, or all.
    Disk(Option<String>),
    Pressure(Resource),
    Interface(String),
    Unit(String),
    Process(Processes),
    Port(Option<IpAddr>, u16),
}

/// What tasks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Resource {
    Cpu,
    Memory,
    Io,
}

impl Resource {
    fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }
}

/// Which processes are meant.
#[derive(Debug, Clone)]
enum Processes {
    /// The program's name, as `ps` shows it.
    Named(String),
    /// The command line matches.
    Matching(Box<Regex>),
}

struct HostProbe {
    check: Check,
    // Counters of the last run; one run at a time, so nobody waits for it.
    before: Mutex<Option<Before>>,
    hanging: Hanging,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let check = read(node)?;
    Some(Box::new(HostProbe { check, before: Mutex::default(), hanging: Hanging::default() }))
}

fn read(node: &Node<'_>) -> Option<Check> {
    if !node.is_table() {
        let alone =
            [("load", Check::Load), ("memory", Check::Memory), ("swap", Check::Swap), ("disk", Check::Disk(None))];
        let word = node.string()?;
        if let Some((_, check)) = alone.into_iter().find(|(name, _)| *name == word) {
            return Some(check);
        }
        let hint = if CHECKS.contains(&word.as_str()) {
            format!("say which one, as in `host = {{ {word} = \"…\" }}`")
        } else {
            format!("write one of {}", CHECKS.join(", "))
        };
        node.error_with_hint(format!("`{}` is no check of a host", sanitise::text(&word)), hint);
        return None;
    }
    let mut found = CHECKS.iter().filter_map(|name| Some((*name, node.get(name)?)));
    let (first, second) = (found.next(), found.next());
    node.finish(&[]);
    let (Some((name, value)), None) = (first, second) else {
        node.error_with_hint(
            "a host probe has exactly one check",
            format!("write one of {}, as in `host = {{ disk = \"/\" }}`", CHECKS.join(", ")),
        );
        return None;
    };
    match name {
        "load" | "memory" | "swap" => {
            if value.boolean()? {
                return Some(match name {
                    "load" => Check::Load,
                    "memory" => Check::Memory,
                    _ => Check::Swap,
                });
            }
            value.error_with_hint("a check that is switched off", format!("write `host = \"{name}\"`"));
            None
        }
        "disk" => {
            let path = value.string()?;
            if path == "all" {
                return Some(Check::Disk(None));
            }
            if !path.starts_with('/') {
                value.error_with_hint("a mount point begins with `/`", "write a path such as `/var`, or `all`");
                return None;
            }
            Some(Check::Disk(Some(path)))
        }
        "pressure" => value
            .one_of(&[("cpu", Resource::Cpu), ("memory", Resource::Memory), ("io", Resource::Io)])
            .map(Check::Pressure),
        "interface" => word(&value, "an interface", "eth0").map(Check::Interface),
        "unit" => {
            let name = word(&value, "a unit", "nginx.service")?;
            Some(Check::Unit(if name.contains('.') { name } else { format!("{name}.service") }))
        }
        "process" => read_process(&value),
        _ => read_port(&value),
    }
}

/// A name that can stand alone among arguments.
fn word(node: &Node<'_>, what: &str, example: &str) -> Option<String> {
    let text = node.string()?;
    if text.is_empty()
        || text.starts_with('-')
        || text.contains(|it: char| it.is_whitespace() || it.is_control() || it == '/')
    {
        node.error_with_hint(format!("this is no name of {what}"), format!("write a name such as `{example}`"));
        return None;
    }
    Some(text)
}

fn read_process(node: &Node<'_>) -> Option<Check> {
    if !node.is_table() {
        return word(node, "a program", "nginx").map(|it| Check::Process(Processes::Named(it)));
    }
    let pattern = node.require("argv");
    node.finish(&[]);
    let pattern = pattern?;
    match Regex::new(&pattern.string()?) {
        Ok(regex) => Some(Check::Process(Processes::Matching(Box::new(regex)))),
        Err(_) => {
            pattern.error_with_hint("bad regex", "write one that the command line matches, as in `java .*orders`");
            None
        }
    }
}

fn read_port(node: &Node<'_>) -> Option<Check> {
    if !node.is_str() {
        let port = node.integer(1..65_536)?;
        return Some(Check::Port(None, u16::try_from(port).ok()?));
    }
    let (host, port) = net::host_and_port(node)?;
    match host.parse() {
        Ok(address) => Some(Check::Port(Some(address), port)),
        Err(_) => {
            node.error_with_hint("this is no address of this host", "write `443`, or an address as in `127.0.0.1:443`");
            None
        }
    }
}

impl Probe for HostProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            let begun = clock::monotonic();
            seen.verdict = match &self.check {
                Check::Interface(name) => self.look_at_interface(name, deadline, &mut seen).await,
                Check::Unit(name) => look::unit(name, deadline, &mut seen).await,
                Check::Disk(path) => look::disk(path.clone(), &self.hanging, deadline, &mut seen).await,
                check => {
                    let check = check.clone();
                    let reading = move || {
                        let mut seen = Observation::default();
                        seen.verdict = look::quick(&check, &mut seen);
                        seen
                    };
                    match aside(deadline, reading).await {
                        Ok(found) => {
                            let verdict = found.verdict.clone();
                            seen = found;
                            verdict
                        }
                        Err(verdict) => Some(verdict),
                    }
                }
            };
            let took = clock::monotonic() - begun;
            seen.values.phases.add(Phase::Run, took);
            for (_, member) in &mut seen.members {
                member.values.phases.add(Phase::Run, took);
            }
            seen
        })
    }

    fn target(&self) -> String {
        let text = match &self.check {
            Check::Load => "load".into(),
            Check::Memory => "memory".into(),
            Check::Swap => "swap".into(),
            Check::Disk(None) => "all disks".into(),
            Check::Disk(Some(path)) => format!("disk {path}"),
            Check::Pressure(resource) => format!("pressure on {}", resource.word()),
            Check::Interface(name) => format!("interface {name}"),
            Check::Unit(name) => format!("unit {name}"),
            Check::Process(Processes::Named(name)) => format!("process {name}"),
            Check::Process(Processes::Matching(regex)) => format!("process /{regex}/"),
            Check::Port(None, port) => format!("port {port}"),
            Check::Port(Some(address), port) => format!("port {}", net::shown(&address.to_string(), *port)),
        };
        sanitise::text(&text)
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(match &self.check {
            Check::Load => LOAD,
            Check::Memory => MEMORY,
            Check::Swap => SWAP,
            Check::Disk(_) => DISK,
            Check::Pressure(_) => PRESSURE,
            Check::Interface(_) => INTERFACE,
            Check::Unit(_) => UNIT,
            Check::Process(_) => PROCESS,
            Check::Port(..) => PORT,
        })
    }

    fn usually(&self, about: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
        // What a host cannot live with; where it begins to hurt is for the config to say.
        let usual: &[(&[&str], &'static str)] = match &self.check {
            Check::Memory => &[(&["available", "available_mib", "used"], "available >= 2")],
            Check::Disk(_) => &[(&["used", "free", "free_gib"], "free >= 2"), (&["inodes"], "inodes <= 98")],
            Check::Interface(_) => &[(&["state"], "state == up")],
            Check::Unit(_) => &[(&["active", "sub", "result"], "active == active")],
            Check::Process(_) => &[(&["count"], "count >= 1")],
            Check::Port(..) => &[(&["listening"], "listening >= 1")],
            Check::Load | Check::Swap | Check::Pressure(_) => &[],
        };
        let said = |subjects: &[&str]| subjects.iter().any(|it| about(it));
        usual.iter().filter(|(subjects, _)| !said(subjects)).map(|(_, line)| *line).collect()
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.target().hash(&mut hasher);
    }
}

/// Reads aside, so that what hangs holds up nothing but its own thread.
async fn aside<T: Send + 'static>(
    deadline: tokio::time::Instant,
    reading: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Verdict> {
    match tokio::time::timeout_at(deadline, tokio::task::spawn_blocking(reading)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err(unknown("reading panicked: this is a bug in hotseat")),
        Err(_) => Err(unknown("the kernel does not answer")),
    }
}

fn unknown(text: &str) -> Verdict {
    (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot check", sanitise::text(text)))
}

impl HostProbe {
    /// Rates are the difference to the run before; the first run looks twice.
    async fn look_at_interface(
        &self,
        name: &str,
        deadline: tokio::time::Instant,
        seen: &mut Observation,
    ) -> Option<Verdict> {
        let mut before = self.before.lock().await;
        let last = match before.take() {
            Some(last) if last.is_recent() => last,
            _ => {
                let first = match look::counters(name, deadline).await {
                    Ok(first) => first,
                    Err(verdict) => return Some(verdict),
                };
                let left = deadline.saturating_duration_since(clock::timer());
                tokio::time::sleep((left / 2).min(Duration::from_secs(1))).await;
                first
            }
        };
        match look::counters(name, deadline).await {
            Ok(now) => {
                look::tell_interface(&last, &now, seen);
                *before = Some(now);
                None
            }
            Err(verdict) => Some(verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    fn parse(entry: &str) -> Result<String, Vec<String>> {
        let source = Source::new("c.toml", entry);
        let root = source.parse().expect("TOML");
        let built = build(&root.get("host").expect("a key"));
        let errors: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
        built.filter(|_| errors.is_empty()).map(|it| it.target()).ok_or(errors)
    }

    #[test]
    fn a_host_probe_has_one_check() {
        for (entry, wanted) in [
            ("'load'", "load"),
            ("'disk'", "all disks"),
            ("{ disk = '/var' }", "disk /var"),
            ("{ pressure = 'io' }", "pressure on io"),
            ("{ unit = 'nginx' }", "unit nginx.service"),
            ("{ process = { argv = 'java .*orders' } }", "process /java .*orders/"),
            ("{ port = 443 }", "port 443"),
            ("{ port = '[::1]:443' }", "port [::1]:443"),
        ] {
            assert_eq!(parse(&format!("host = {entry}")).as_deref(), Ok(wanted), "{entry}");
        }
        for (entry, wanted) in [
            ("'lode'", "`lode` is no check of a host (write one of load,"),
            ("'unit'", "say which one, as in `host = { unit = \"…\" }`"),
            ("{ load = true, swap = true }", "exactly one check"),
            ("{ disk = 'var' }", "a mount point begins with `/`"),
            ("{ unit = '-H evil' }", "this is no name of a unit"),
            ("{ port = 'example.com:1' }", "this is no address of this host"),
            ("{ pressure = 'gpu' }", "unknown value `gpu`"),
        ] {
            let errors = parse(&format!("host = {entry}")).expect_err(entry);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{entry}: {errors:?}");
        }
    }
}
