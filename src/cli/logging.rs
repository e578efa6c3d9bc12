//! What hotseat says about itself goes to a file in the state directory; never to the screen.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_subscriber::EnvFilter;

use crate::config::paths;

/// A log that has reached this when hotseat starts is put aside as `hotseat.log.1`, in place of the one before.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// Where the log of a state directory is.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("hotseat.log")
}

/// How often `-v` was given. The log is one of the process, and so is how much it says.
static VERBOSE: AtomicU8 = AtomicU8::new(0);

/// Takes `-v` into use for the log that is started later.
pub fn set_verbose(count: u8) {
    VERBOSE.store(count, Ordering::Relaxed);
}

/// Starts logging: `HOTSEAT_LOG` (as `RUST_LOG` is written), else by how often `-v` was given.
///
/// # Errors
/// When the file cannot be written. Everything works without it but finding out why something did not.
pub fn start(state_dir: &Path) -> io::Result<()> {
    let file = open(state_dir)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_ansi(false)
        // On a full disk it would complain on stderr, into the middle of the screen.
        .log_internal_errors(false)
        .with_writer(Mutex::new(file))
        .try_init()
        .map_err(io::Error::other)
}

/// What is logged: `HOTSEAT_LOG`, else by how often `-v` was given.
pub fn filter() -> EnvFilter {
    let level = match VERBOSE.load(Ordering::Relaxed) {
        0 => "info",
        1 => "info,hotseat=debug",
        _ => "info,hotseat=trace",
    };
    EnvFilter::try_from_env("HOTSEAT_LOG").unwrap_or_else(|_| EnvFilter::new(level))
}

fn open(state_dir: &Path) -> io::Result<File> {
    paths::make_private_dir(state_dir)?;
    let path = file(state_dir);
    if fs::metadata(&path).is_ok_and(|it| it.len() >= FILE_MAX_BYTES) {
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
