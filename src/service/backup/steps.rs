//! Where a run may be cut off: nothing in the program, a place to kill the process at in the tests.

/// Called after every step that leaves something on a disk.
#[cfg(not(test))]
pub(super) fn reached(_step: &'static str) {}

/// Kills this process, as `kill -9` does, when the step chosen by `kill_at` is reached.
#[cfg(test)]
pub(super) fn reached(_step: &'static str) {
    use std::sync::atomic::Ordering;
    if KILL_AT.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way; nothing more may happen.
        loop {
            std::thread::park();
        }
    }
}

/// Steps until the kill; 0 and less is never. Only a child process of a test sets it.
#[cfg(test)]
pub(super) static KILL_AT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
