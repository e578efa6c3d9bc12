//! What the benchmarks measure with: processor time, memory, and a line of output per figure.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use hotseat::clock;

/// Clock ticks of `/proc/PID/stat` per second; 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Runs the benchmarks that the command line names, or all.
pub fn run(all: &[(&str, fn())]) {
    let named: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    for (name, bench) in all {
        if named.is_empty() || named.iter().any(|it| it == name) {
            bench();
        }
    }
}

/// Prints a figure with its name.
pub fn report(name: &str, figure: &str) {
    let _ = writeln!(std::io::stdout(), "{name:<58} {figure}");
}

/// Processor seconds of this thread, in steps of the scheduler's tick (some milliseconds). Linux only.
pub fn thread_cpu_s() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("/proc/thread-self/schedstat");
    let ns: f64 = text.split(' ').next().and_then(|it| it.parse().ok()).expect("nanoseconds");
    ns / 1e9
}

/// Processor seconds of a process with all its threads, living and dead, in steps of 10 ms. Linux only.
pub fn process_cpu_s(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc/PID/stat");
    // The name in brackets may hold blanks.
    let (_, fields) = text.rsplit_once(") ").expect("a name in brackets");
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Forgets the highest memory use so far, and returns the present one in bytes.
pub fn reset_peak_rss() -> u64 {
    fs::write("/proc/self/clear_refs", "5").expect("/proc/self/clear_refs");
    status_bytes("VmRSS:")
}

/// Highest memory use since `reset_peak_rss`, in bytes.
pub fn peak_rss() -> u64 {
    status_bytes("VmHWM:")
}

fn status_bytes(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let kib = text.lines().find_map(|it| it.strip_prefix(key)?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("a size in kB") * 1024
}

/// Processor and wall seconds of an action on this thread.
pub fn timed<T>(action: impl FnOnce() -> T) -> (T, f64, f64) {
    let (cpu, wall) = (thread_cpu_s(), clock::monotonic());
    let result = action();
    (result, thread_cpu_s() - cpu, wall.elapsed().as_secs_f64())
}

/// Time of one action in the fastest batch: neighbours only ever add to it. `prepare` is not counted.
pub fn each<T>(
    batches: usize,
    per_batch: usize,
    mut prepare: impl FnMut() -> T,
    mut action: impl FnMut(T),
) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..batches {
        let inputs: Vec<T> = (0..per_batch).map(|_| prepare()).collect();
        let start = clock::monotonic();
        inputs.into_iter().for_each(&mut action);
        least = least.min(start.elapsed() / per_batch as u32);
    }
    least
}

/// A time in the unit that it is read best in.
pub fn time(it: Duration) -> String {
    let us = it.as_secs_f64() * 1e6;
    match us {
        ..10.0 => format!("{us:.2} µs"),
        ..10_000.0 => format!("{us:.0} µs"),
        _ => format!("{:.1} ms", us / 1e3),
    }
}

/// The value below which this share of sorted values lies.
pub fn share<T: Copy>(sorted: &[T], share: f64) -> T {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
