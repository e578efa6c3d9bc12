//! A host of its own in a network namespace: a link of its own that can be taken down, which no connection notices at
//! once, unlike one that is reset.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Namespaces that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A namespace with one link to this one. Both go with it.
pub struct Net {
    /// It does nothing but be in the namespace, and ends with the test, however that ends.
    holder: Child,
    address: String,
}

impl Net {
    /// `None`, and a word about it, where there is no `iproute2` or this account may not make one.
    pub fn start() -> Option<Self> {
        for name in ["ip", "unshare", "nsenter", "setpriv"] {
            if Command::new(name).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`{name}` is not installed");
                return skip(&format!("{name} not found"));
            }
        }
        let holder = Command::new("unshare")
            .args(["-n", "setpriv", "--pdeathsig", "KILL", "sleep", "3600"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let pid = holder.id();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Blocks of four addresses of the network for benchmarks, which nothing else uses.
        let first = (std::process::id() % 8192 * 4 + number % 4) * 4;
        let of = |last: u32| format!("198.{}.{}.{}", 18 + (first >> 16), first >> 8 & 255, (first & 255) + last);
        let (near, address) = (of(1), of(2));
        let mut net = Self { holder, address };
        let own = || fs::read_link("/proc/self/ns/net").ok();
        while fs::read_link(format!("/proc/{pid}/ns/net")).ok() == own() {
            if net.holder.try_wait().expect("a child").is_some() {
                return skip("network namespaces are not allowed here");
            }
            thread::yield_now();
        }
        let device = format!("hs{:x}n{number}", std::process::id());
        let peer = pid.to_string();
        let is_linked = run("ip", &["link", "add", &device, "type", "veth", "peer", "name", "eth0", "netns", &peer])
            && run("ip", &["addr", "add", &format!("{near}/30"), "dev", &device])
            && run("ip", &["link", "set", &device, "up"])
            && net.inside(&["addr", "add", &format!("{}/30", net.address), "dev", "eth0"])
            && net.up();
        if !is_linked {
            return skip("links to network namespaces are not allowed here");
        }
        // Not every kernel has it; what a long way does is tested over a relay as well.
        if !run("tc", &["qdisc", "add", "dev", &device, "root", "netem", "delay", "40ms"]) {
            let _ = std::io::stderr().write_all(b"without latency: no netem here\n");
        }
        Some(net)
    }

    /// How it is reached from here.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What stands before the words of a program that is to run in it.
    pub fn enter(&self) -> Vec<String> {
        ["nsenter", "-t", &self.holder.id().to_string(), "-n", "--"].map(str::to_string).to_vec()
    }

    /// Takes its link down: what is sent is gone, and nobody is told.
    pub fn down(&self) {
        assert!(self.inside(&["link", "set", "eth0", "down"]));
    }

    /// Takes it up again.
    pub fn up(&self) -> bool {
        self.inside(&["link", "set", "eth0", "up"])
    }

    fn inside(&self, words: &[&str]) -> bool {
        let enter = self.enter();
        let words: Vec<&str> =
            enter[1..].iter().map(String::as_str).chain(["ip"]).chain(words.iter().copied()).collect();
        run(&enter[0], &words)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn run(program: &str, words: &[&str]) -> bool {
    let status = Command::new(program).args(words).stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|it| it.success())
}

fn skip(why: &str) -> Option<Net> {
    // The harness shows it with `--nocapture`.
    let _ = std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes());
    None
}
