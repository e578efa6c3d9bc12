//! Runs tests where they may mount: in a user and mount namespace of their own.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Set for the process that has the namespace.
const INSIDE: &str = "HOTSEAT_TEST_NAMESPACE";

/// Runs a test function by its name where it may mount; there it asks [`is_inside`].
pub fn run_inside(name: &str) {
    let probe = tempfile::tempdir().expect("a directory");
    let mounts = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(probe.path())
        .stderr(Stdio::null())
        .status();
    if !mounts.is_ok_and(|it| it.success()) {
        let said = "skipped: no mount of one's own (unshare, or the kernel's leave)\n";
        let _ = std::io::stderr().write_all(said.as_bytes());
        return;
    }
    let output = Command::new("unshare")
        .arg("-rm")
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", name])
        .env(INSIDE, "1")
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// True in the process that has the namespace.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Mounts a disk in memory of so many bytes over a directory.
pub fn mount_disk(directory: &Path, size_bytes: u64) {
    let options = format!("size={size_bytes},mode=700");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(directory).status();
    assert!(status.expect("mount").success(), "{}", directory.display());
}
