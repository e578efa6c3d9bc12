//! Ten hosts beside one: the first page and the counts of a query over each one's file, through the hub of a screen.
//!
//! The hosts are runtimes of this process, so ten of them share its cores; real ones have their own. What that alone
//! costs is said beside the time: the processor time of all of them up to the page, over the cores. What the page takes
//! beyond that is the hub's and would be seen with real hosts as well.

mod measure;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotseat::agent::hub::{self, Member};
use hotseat::config::{self, Loaded};
use hotseat::domain::host::{HostNews, Way};
use hotseat::domain::ids::HostId;
use hotseat::domain::log::{Anchor, ViewId, Window, WindowRequest};
use hotseat::domain::presence::Visitor;
use hotseat::domain::request::{Inbound, Request};
use hotseat::runtime::{Link, Runtime, RuntimeSetup};
use measure::process_cpu_s;
use tokio::sync::mpsc;

/// Bytes of each host's file; the first argument is another number of MiB.
const FILE_MIB: u64 = 64;
/// Hosts of the larger screen.
const HOSTS: usize = 10;
/// Times each is measured; the median counts.
const ROUNDS: usize = 7;

fn main() {
    let mib = std::env::args().skip(1).find_map(|it| it.parse().ok()).unwrap_or(FILE_MIB);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.log");
    write(&path, mib << 20);
    let mut out = std::io::stdout();
    for hosts in [1, HOSTS] {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for count in [false, true] {
            let Measured { page, page_cpu_s, counts, bytes, cpu_s } =
                runtime.block_on(look(directory.path(), &path, hosts, count));
            let counted = if count { format!(", counts {counts:.1?}") } else { String::new() };
            let _ = writeln!(
                out,
                "{hosts} hosts with {mib} MiB each: page {page:.1?} ({:.1} ms of processor time up to it for each: \
                 {cores} cores cannot do it in less than {:.1} ms){counted}, {bytes} bytes from all of them, {:.0} ms of \
                 processor time for each",
                page_cpu_s * 1e3 / hosts as f64,
                page_cpu_s * 1e3 / cores as f64,
                cpu_s * 1e3 / hosts as f64,
            );
        }
        runtime.shutdown_background();
    }
}

fn write(path: &Path, size_bytes: u64) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let (mut written, mut number) = (0, 0_u64);
    while written < size_bytes {
        let (hour, minute, second) = (number / 360_000 % 24, number / 6_000 % 60, number / 100 % 60);
        let level = if number % 1000 == 0 { "ERROR" } else { "INFO" };
        let line = format!(
            "2024-08-19T{hour:02}:{minute:02}:{second:02}.{:03}Z {level} request {number} took 12ms from 198.51.100.7\n",
            number % 1000
        );
        written += line.len() as u64;
        number += 1;
        file.write_all(line.as_bytes()).expect("written");
    }
    file.flush().expect("written");
}

/// Of one query; medians.
struct Measured {
    page: Duration,
    /// Of all hosts and the screen, until the page is there.
    page_cpu_s: f64,
    counts: Duration,
    /// What hosts say to the screen.
    bytes: u64,
    /// Of all hosts and the screen.
    cpu_s: f64,
}

async fn look(directory: &Path, path: &Path, hosts: usize, count: bool) -> Measured {
    let shipped = Arc::new(AtomicU64::new(0));
    let mut runtimes = Vec::new();
    let mut members = Vec::new();
    for number in 0..hosts {
        let host = HostId::new(&format!("host{number}"));
        let text = format!("[[log]]\nname = \"app\"\nfile = \"{}\"\n", path.display());
        let (config, errors) = config::parse("c.toml", &text);
        assert!(errors.is_empty(), "{errors:?}");
        let loaded = Loaded { config, readable: true, ..Loaded::default() };
        let state_dir = directory.join(format!("state-{hosts}-{number}-{count}"));
        let runtime =
            Runtime::start(RuntimeSetup { host: host.clone(), user: "bench".into(), state_dir, loaded, reader: None });
        runtime.active().cancelled().await;
        let link = runtime.attach(Visitor::inside("bench"));
        members.push(Member { called: host.clone(), link: said_inside(host, link, Arc::clone(&shipped)) });
        runtimes.push(runtime);
    }
    let mut link = hub::start(members);
    let mut there = 0;
    while there < hosts {
        there += usize::from(matches!(link.facts_rx.recv().await, Some(Inbound::Snapshot(_))));
    }
    let (mut pages, mut page_cpus, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let (cpu_s, before) = (process_cpu_s(std::process::id()), shipped.load(Ordering::Relaxed));
    for round in 0..ROUNDS as u64 {
        let request = WindowRequest {
            query: format!("level>=error -\"round {round}\""),
            count,
            ..WindowRequest::new(ViewId(1), round, Anchor::Tail, (200, 0))
        };
        let (began, cpu_before_s) = (Instant::now(), process_cpu_s(std::process::id()));
        link.requests_tx.send(Request::Window(Box::new(request))).await.expect("the hub listens");
        let mut page = None;
        loop {
            let Some(Inbound::Window(window)) = link.facts_rx.recv().await else { continue };
            if window.generation != round {
                continue;
            }
            if is_page(&window) {
                page.get_or_insert_with(|| {
                    page_cpus.push(process_cpu_s(std::process::id()) - cpu_before_s);
                    began.elapsed()
                });
            }
            if window.counts.complete || (!count && page.is_some()) {
                break;
            }
        }
        counts.push(began.elapsed());
        pages.push(page.expect("a page of matches before the counts are complete"));
    }
    let (cpu_s, bytes) = (process_cpu_s(std::process::id()) - cpu_s, shipped.load(Ordering::Relaxed) - before);
    for runtime in runtimes {
        runtime.shutdown().await;
    }
    pages.sort_unstable();
    page_cpus.sort_unstable_by(f64::total_cmp);
    counts.sort_unstable();
    Measured {
        page: pages[ROUNDS / 2],
        page_cpu_s: page_cpus[ROUNDS / 2],
        counts: counts[ROUNDS / 2],
        bytes: bytes / ROUNDS as u64,
        cpu_s: cpu_s / ROUNDS as f64,
    }
}

fn is_page(window: &Window) -> bool {
    window.rows.as_ref().is_some_and(|it| it.len() >= 200)
}

/// A link whose host is said to be in this process, as a connector would; what of log rows goes over it is counted.
fn said_inside(host: HostId, link: Link, shipped: Arc<AtomicU64>) -> Link {
    let (inbound_tx, facts_rx) = mpsc::channel(32);
    let Link { facts_rx: mut theirs, requests_tx } = link;
    tokio::spawn(async move {
        let news = HostNews { host, way: Way::Inside };
        if inbound_tx.send(Inbound::Host(Box::new(news))).await.is_err() {
            return;
        }
        while let Some(inbound) = theirs.recv().await {
            if let Inbound::Window(window) = &inbound {
                let bytes = serde_json::to_vec(window).map_or(0, |it| it.len());
                shipped.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            if inbound_tx.send(inbound).await.is_err() {
                return;
            }
        }
    });
    Link { facts_rx, requests_tx }
}
