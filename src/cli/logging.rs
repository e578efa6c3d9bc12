//! What hotseat says about itself goes to a file in the state directory; never to the screen.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use crate::config::paths;

/// A log that has reached this when hotseat starts is put aside as `hotseat.log.1`, in place of the one before.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// Where the log of a state directory is.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("hotseat.log")
}

/// Starts logging: `HOTSEAT_LOG` (as `RUST_LOG` is written), else by how often `-v` was given.
///
/// Without a writable state directory there is no log; the runtime says on the screen that the directory
/// cannot be used.
pub fn start(state_dir: &Path, verbose: u8) {
    let level = match verbose {
        0 => "hotseat=info",
        1 => "hotseat=debug",
        _ => "hotseat=trace,info",
    };
    let filter = EnvFilter::try_from_env("HOTSEAT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let Ok(file) = open(state_dir) else { return };
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Mutex::new(file)).finish();
    // A second start in one process (the demo) keeps the first log.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn open(state_dir: &Path) -> std::io::Result<File> {
    paths::make_private_dir(state_dir)?;
    let path = file(state_dir);
    if fs::metadata(&path).is_ok_and(|it| it.len() >= FILE_MAX_BYTES) {
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
