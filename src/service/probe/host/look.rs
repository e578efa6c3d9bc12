//! Looks at this host: reads `/proc`, asks file systems for their room, asks systemd of a unit.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::clock;
use crate::domain::format;
use crate::domain::probe::expect::FieldValue;
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Perf, Phase};
use crate::domain::sanitise;
use crate::service::probe::host::parse::{self, Interface, Mount};
use crate::service::probe::host::{Check, Processes, aside, unknown};
use crate::service::probe::net::{self, Verdict, fail};

/// Processes that are looked at: more than a host runs.
const PROCESSES_MAX: usize = 100_000;
/// Bytes of a command line that are matched.
const ARGV_MAX: usize = 4096;
/// Counters older than this say nothing about now.
const BEFORE_MAX: Duration = Duration::from_secs(2 * 3600);
/// File systems looked at when all are wanted.
const MOUNTS_MAX: usize = 64;

/// Mount points that a thread still waits for, so that none is added at every run.
pub type Hanging = Arc<Mutex<HashSet<String>>>;

fn put(seen: &mut Observation, name: &'static str, value: f64, unit: &str) {
    // Two digits behind the point are what anybody reads.
    let value = (value * 100.0).round() / 100.0;
    seen.values.fields.push((name, FieldValue::Number(value)));
    seen.evidence.perf.push(Perf::plain(name, value, unit));
}

fn put_text(seen: &mut Observation, name: &'static str, text: &str) {
    seen.values.fields.push((name, FieldValue::Texts(vec![sanitise::text(text)])));
}

fn read(path: &str) -> Result<String, Verdict> {
    fs::read_to_string(path).map_err(|error| unknown(&format!("could not read `{path}`: {error}")))
}

fn odd(path: &str) -> Verdict {
    unknown(&format!("`{path}` is not as expected"))
}

/// The checks that read a few small files of the kernel. Blocks.
pub fn quick(check: &Check, seen: &mut Observation) -> Option<Verdict> {
    let result = match check {
        Check::Load => load(seen),
        Check::Memory => memory(seen),
        Check::Swap => swap(seen),
        Check::Pressure(resource) => pressure(resource.word(), seen),
        Check::Process(which) => processes(which, seen),
        Check::Port(address, port) => port_listens(*address, *port, seen),
        Check::Disk(_) | Check::Interface(_) | Check::Unit(_) => Ok(()),
    };
    result.err()
}

fn load(seen: &mut Observation) -> Result<(), Verdict> {
    let path = "/proc/loadavg";
    let load = parse::load(&read(path)?).ok_or_else(|| odd(path))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    for (name, value) in ["load1", "load5", "load15"].into_iter().zip(load) {
        put(seen, name, value, "");
    }
    put(seen, "per_core", load[0] / cores, "");
    seen.evidence.text = format!("load {:.2} {:.2} {:.2} on {cores} cores", load[0], load[1], load[2]);
    Ok(())
}

fn memory(seen: &mut Observation) -> Result<(), Verdict> {
    let path = "/proc/meminfo";
    let found = parse::memory(&read(path)?).ok_or_else(|| odd(path))?;
    let available = found.available as f64 / found.total as f64 * 100.0;
    put(seen, "available", available, "%");
    put(seen, "available_mib", found.available as f64 / 1024.0, "MiB");
    put(seen, "used", 100.0 - available, "%");
    let bytes = |kib: u64| format::bytes(kib * 1024);
    seen.evidence.text = format!("{} of {} available ({available:.0}%)", bytes(found.available), bytes(found.total));
    Ok(())
}

fn swap(seen: &mut Observation) -> Result<(), Verdict> {
    let path = "/proc/meminfo";
    let found = parse::memory(&read(path)?).ok_or_else(|| odd(path))?;
    let used = found.swap_total.saturating_sub(found.swap_free);
    let share = if found.swap_total == 0 { 0.0 } else { used as f64 / found.swap_total as f64 * 100.0 };
    put(seen, "used", share, "%");
    put(seen, "used_mib", used as f64 / 1024.0, "MiB");
    seen.evidence.text = match found.swap_total {
        0 => "this host has no swap".into(),
        total => format!("{} of {} swap used ({share:.0}%)", format::bytes(used * 1024), format::bytes(total * 1024)),
    };
    Ok(())
}

fn pressure(resource: &str, seen: &mut Observation) -> Result<(), Verdict> {
    let path = format!("/proc/pressure/{resource}");
    let text = fs::read_to_string(&path)
        .map_err(|error| unknown(&format!("could not read `{path}`: {error}; kernels have it from 4.20 on")))?;
    let (some, full) = parse::pressure(&text).ok_or_else(|| odd(&path))?;
    put(seen, "some", some, "%");
    put(seen, "full", full.unwrap_or(0.0), "%");
    seen.evidence.text = format!("{some}% of the last 10s some task waited for {resource}");
    Ok(())
}

fn processes(which: &Processes, seen: &mut Observation) -> Result<(), Verdict> {
    let entries = fs::read_dir("/proc").map_err(|error| unknown(&format!("could not read `/proc`: {error}")))?;
    let (mut count, mut resident) = (0_u64, 0_u64);
    let own = std::process::id().to_string();
    for entry in entries.flatten().take(PROCESSES_MAX) {
        let name = entry.file_name();
        let Some(id) = name.to_str().filter(|it| it.bytes().all(|it| it.is_ascii_digit()) && *it != own) else {
            continue;
        };
        // A process may end while it is looked at.
        let matches = match which {
            Processes::Named(name) => is_named(id, name),
            Processes::Matching(regex) => argv(id).is_some_and(|it| !it.is_empty() && regex.is_match(&it)),
        };
        if matches {
            count += 1;
            resident += fs::read_to_string(format!("/proc/{id}/status")).map_or(0, |it| parse::resident(&it));
        }
    }
    put(seen, "count", count as f64, "");
    put(seen, "rss_mib", resident as f64 / 1024.0, "MiB");
    seen.evidence.text = format!("{count} running, {} resident", format::bytes(resident * 1024));
    if count == 0 {
        seen.values.plainly = Some(sanitise::text(&match which {
            Processes::Named(name) => format!("no process is called `{name}`"),
            Processes::Matching(regex) => format!("no process has a command line that matches `{regex}`"),
        }));
    }
    Ok(())
}

/// The kernel keeps 15 bytes of a name; longer ones are found in the first word of the command line.
fn is_named(id: &str, name: &str) -> bool {
    let Ok(comm) = fs::read_to_string(format!("/proc/{id}/comm")) else { return false };
    let comm = comm.trim_end_matches('\n');
    if comm == name {
        return true;
    }
    name.len() > 15
        && name.starts_with(comm)
        && argv(id).is_some_and(|it| it.split(' ').next().and_then(|it| it.rsplit('/').next()) == Some(name))
}

fn argv(id: &str) -> Option<String> {
    let mut bytes = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    bytes.truncate(ARGV_MAX);
    let text = String::from_utf8_lossy(&bytes);
    Some(text.trim_end_matches('\0').replace('\0', " "))
}

fn port_listens(address: Option<IpAddr>, port: u16, seen: &mut Observation) -> Result<(), Verdict> {
    let mut listeners = parse::listening(&read("/proc/net/tcp")?);
    // A host without IPv6 has no such file.
    listeners.extend(fs::read_to_string("/proc/net/tcp6").map(|it| parse::listening(&it)).unwrap_or_default());
    let wanted = address.map(accepting);
    let is_wanted = |(at, its_port): &&(String, u16)| {
        *its_port == port && wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|it| it == at))
    };
    let count = listeners.iter().filter(is_wanted).count();
    put(seen, "listening", count as f64, "");
    let at = match address {
        None => format!("port {port}"),
        Some(address) => net::shown(&address.to_string(), port),
    };
    if count == 0 {
        seen.values.plainly = Some(format!("nothing listens on {at}"));
    }
    seen.evidence.text = format!("{} listens on {at}", if count == 0 { "nothing" } else { "something" });
    Ok(())
}

/// The addresses, as the kernel prints them, of listeners that an address reaches: its own and the open ones.
fn accepting(address: IpAddr) -> Vec<String> {
    // Each group of four bytes is printed as a number of this machine's byte order.
    let group = |it: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(it));
    let six = |it: Ipv6Addr| {
        let bytes = it.octets();
        bytes.chunks_exact(4).map(|it| group([it[0], it[1], it[2], it[3]])).collect::<String>()
    };
    let open = [group([0; 4]), six(Ipv6Addr::UNSPECIFIED)];
    let own = match address {
        IpAddr::V4(it) => vec![group(it.octets()), six(it.to_ipv6_mapped())],
        IpAddr::V6(it) => vec![six(it)],
    };
    // An open IPv4 listener does not take IPv6.
    let open = if address.is_ipv4() { &open[..] } else { &open[1..] };
    own.into_iter().chain(open.iter().cloned()).collect()
}

/// What an interface had counted, and when.
pub struct Before {
    at: Instant,
    counters: Interface,
    state: String,
}

impl Before {
    /// True when rates since then say something.
    pub fn is_recent(&self) -> bool {
        clock::monotonic() - self.at < BEFORE_MAX
    }
}

/// Reads an interface's counters.
pub async fn counters(name: &str, deadline: tokio::time::Instant) -> Result<Before, Verdict> {
    let name = name.to_string();
    aside(deadline, move || {
        let found = parse::interfaces(&read("/proc/net/dev")?);
        let Some(counters) = found.get(&name).copied() else {
            let names: Vec<&str> = found.keys().map(String::as_str).collect();
            let text = format!("there is no interface `{name}`, only {}", names.join(", "));
            return Err(fail(Cause::Value, "no interface", text));
        };
        let state = fs::read_to_string(format!("/sys/class/net/{name}/operstate")).unwrap_or_default();
        // The loopback does not know, and is up.
        let state = if state.trim() == "unknown" { "up".to_string() } else { state.trim().to_string() };
        Ok(Before { at: clock::monotonic(), counters, state })
    })
    .await?
}

/// Says what happened between two looks.
pub fn tell_interface(before: &Before, now: &Before, seen: &mut Observation) {
    let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
    // A counter that is smaller than before began anew.
    let rate = |before: [u64; 2], now: [u64; 2], at: usize| now[at].saturating_sub(before[at]) as f64 / seconds;
    let both = |before: [u64; 2], now: [u64; 2]| rate(before, now, 0) + rate(before, now, 1);
    let (old, new) = (&before.counters, &now.counters);
    let mbit = |at: usize| rate(old.bytes, new.bytes, at) * 8.0 / 1e6;
    put(seen, "rx_mbit", mbit(0), "Mbit/s");
    put(seen, "tx_mbit", mbit(1), "Mbit/s");
    put(seen, "errors", both(old.errors, new.errors), "/s");
    put(seen, "drops", both(old.dropped, new.dropped), "/s");
    put_text(seen, "state", &now.state);
    seen.evidence.text = format!("{}, in {:.2} Mbit/s, out {:.2} Mbit/s", now.state, mbit(0), mbit(1));
}

/// Looks at the room on one file system, or on all.
pub async fn disk(
    path: Option<String>,
    hanging: &Hanging,
    deadline: tokio::time::Instant,
    seen: &mut Observation,
) -> Option<Verdict> {
    let mounts = match aside(deadline, || read("/proc/mounts").map(|it| parse::mounts(&it))).await {
        Ok(Ok(mounts)) => mounts,
        Ok(Err(verdict)) | Err(verdict) => return Some(verdict),
    };
    if let Some(path) = path {
        let mount = mounts.into_iter().find(|it| it.at == path);
        return one_disk(&path, mount.as_ref(), hanging, deadline, seen).await;
    }
    let wanted: Vec<Mount> = mounts.into_iter().filter(|it| it.kind != "tmpfs").take(MOUNTS_MAX).collect();
    if wanted.is_empty() {
        return Some(unknown("no file system is mounted that holds files"));
    }
    let looks = wanted.iter().map(|mount| async move {
        let mut seen = Observation::default();
        seen.verdict = one_disk(&mount.at, Some(mount), hanging, deadline, &mut seen).await;
        (sanitise::text(&mount.at), seen)
    });
    seen.members = net::all(looks).await;
    None
}

async fn one_disk(
    path: &str,
    mount: Option<&Mount>,
    hanging: &Hanging,
    deadline: tokio::time::Instant,
    seen: &mut Observation,
) -> Option<Verdict> {
    let silent = || {
        let kind = mount.map(|it| format!(" ({} of {})", it.kind, it.device)).unwrap_or_default();
        let text = format!("the file system at `{path}`{kind} does not answer");
        Some(fail(Cause::Timeout(Phase::Run), "timeout", text))
    };
    let waits = |it: &Hanging| !it.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_string());
    if waits(hanging) {
        // A thread waits for it since an earlier run.
        return silent();
    }
    let (asked, answered, name) = (path.to_string(), Arc::clone(hanging), path.to_string());
    let asking = tokio::task::spawn_blocking(move || {
        let found = rustix::fs::statvfs(&asked);
        answered.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        found
    });
    let found = match tokio::time::timeout_at(deadline, asking).await {
        Ok(Ok(Ok(found))) => found,
        Ok(Ok(Err(error))) => {
            let text = format!("could not look at `{path}`: {error}");
            return Some(match error {
                rustix::io::Errno::ACCESS => unknown(&text),
                _ => fail(Cause::Value, "no answer", text),
            });
        }
        Ok(Err(_)) => return Some(unknown("reading panicked: this is a bug in hotseat")),
        Err(_) => return silent(),
    };
    // As `df` counts: what only root may use is neither used nor free.
    let used = found.f_blocks.saturating_sub(found.f_bfree);
    let usable = (used + found.f_bavail).max(1) as f64;
    let used_share = used as f64 / usable * 100.0;
    let free_bytes = found.f_bavail.saturating_mul(found.f_frsize);
    // Some file systems (btrfs) make inodes as they need them and count none.
    let inodes_used = found.f_files.saturating_sub(found.f_ffree) as f64 / found.f_files.max(1) as f64 * 100.0;
    put(seen, "used", used_share, "%");
    put(seen, "free", 100.0 - used_share, "%");
    put(seen, "free_gib", free_bytes as f64 / f64::from(1 << 30), "GiB");
    put(seen, "inodes", if found.f_files == 0 { 0.0 } else { inodes_used }, "%");
    let read_only = mount.is_some_and(|it| it.read_only);
    seen.values.fields.push(("read_only", FieldValue::Number(f64::from(u8::from(read_only)))));
    let ro = if read_only { ", read-only" } else { "" };
    seen.evidence.text =
        format!("{} free ({:.0}%), inodes {inodes_used:.0}% used{ro}", format::bytes(free_bytes), 100.0 - used_share);
    None
}

/// Asks systemd of a unit.
pub async fn unit(name: &str, deadline: tokio::time::Instant, seen: &mut Observation) -> Option<Verdict> {
    let properties = "LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus";
    let mut command = Command::new("systemctl");
    command.args(["show", "--no-pager", "--property", properties, "--", name]);
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Not in the group that has the terminal of a screen.
    command.process_group(0).kill_on_drop(true);
    let output = match tokio::time::timeout_at(deadline, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Some(unknown(&format!("could not run `systemctl`: {error}"))),
        Err(_) => return Some(unknown("systemd does not answer")),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("no reason given");
        return Some(unknown(&format!("`systemctl` failed: {said}")));
    }
    let unit = parse::unit(&String::from_utf8_lossy(&output.stdout));
    if unit.load == "not-found" {
        return Some(fail(Cause::Value, "no unit", format!("there is no unit `{name}`")));
    }
    put_text(seen, "active", &unit.active);
    put_text(seen, "sub", &unit.sub);
    put_text(seen, "result", &unit.result);
    put(seen, "restarts", unit.restarts as f64, "");
    seen.values.fields.push(("exit", FieldValue::Number(f64::from(unit.status))));
    let why = if unit.result == "success" { String::new() } else { format!(", {}", unit.result) };
    let state = sanitise::text(&format!("{} ({}){why}", unit.active, unit.sub));
    if unit.active != "active" {
        seen.values.plainly = Some(format!("the unit `{name}` is {state}"));
    }
    seen.evidence.text = format!("{state}, {} restarts", unit.restarts);
    None
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_port_of_an_address_is_reached_by_open_listeners_too() {
        if cfg!(target_endian = "little") {
            let wanted = ["0100007F", "0000000000000000FFFF00000100007F", "00000000", &"0".repeat(32)];
            assert_eq!(accepting(IpAddr::V4(Ipv4Addr::LOCALHOST)), wanted);
        }
        assert!(!accepting(IpAddr::V6(Ipv6Addr::LOCALHOST)).contains(&"00000000".to_string()));
    }

    #[test]
    fn rates_are_what_happened_between_two_looks() {
        let at = clock::monotonic();
        let counters = Interface { bytes: [1_000_000, 500], errors: [4, 0], dropped: [0, 0] };
        let before = Before { at, counters, state: "up".into() };
        let counters = Interface { bytes: [2_250_000, 0], errors: [4, 6], dropped: [0, 0] };
        let now = Before { at: at + Duration::from_secs(2), counters, state: "up".into() };
        let mut seen = Observation::default();
        tell_interface(&before, &now, &mut seen);
        let values: Vec<(&str, f64)> = seen.evidence.perf.iter().map(|it| (it.label.as_str(), it.value)).collect();
        assert_eq!(values, [("rx_mbit", 5.0), ("tx_mbit", 0.0), ("errors", 3.0), ("drops", 0.0)]);
    }
}
