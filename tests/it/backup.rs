//! `hotseat backup` as a script sees it: slots, clocks, two processes, and the restore commands with real tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hotseat(root: &Path, time: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
    command
        .args(args)
        .env("HOTSEAT_CONFIG", root.join("config.toml"))
        .env("HOTSEAT_STATE_DIR", root.join("state"))
        .env("HOTSEAT_FIXED_TIME", time)
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

fn run(root: &Path, time: &str, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = hotseat(root, time, args).output().expect("hotseat starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8").replace(&root.display().to_string(), "ROOT");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A host with a database and a daily job on it.
fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path().display();
    let database = rusqlite::Connection::open(dir.path().join("orders.db")).expect("database");
    database.execute_batch("CREATE TABLE orders(id INTEGER); INSERT INTO orders VALUES (1), (2), (3);").expect("rows");
    let config = format!(
        "[host]\nname = \"h\"\n[[backup]]\nname = \"orders\"\nsqlite = \"{root}/orders.db\"\nat = \"daily 01:00\"\nzone = \"UTC\"\n\
         to = \"{root}/disk\"\nkeep = {{ last = 1 }}\n[[backup]]\nname = \"gone\"\nfile = \"{root}/nowhere\"\nto = \"{root}/disk\"\n"
    );
    fs::write(dir.path().join("config.toml"), config).expect("config");
    dir
}

fn artefacts(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join("disk")).expect("destination");
    let names = names.map(|it| it.expect("entry").file_name().into_string().expect("UTF-8"));
    names.filter(|it| it.ends_with(".zst")).collect()
}

#[test]
fn a_slot_is_served_once_by_two_processes_and_missed_ones_are_listed() {
    let dir = world();
    let root = dir.path();
    // The first call only notes from when on slots count.
    let due = ["backup", "run", "orders", "--due"];
    assert_eq!(run(root, "2026-11-20T12:00:00Z", &due).0, 0);
    let time = "2026-11-22T12:00:00Z";
    let start =
        || hotseat(root, time, &due).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("hotseat starts");
    let codes: Vec<_> = [start(), start()].into_iter().map(|mut it| it.wait().expect("ends").code()).collect();
    // The slower one finds the job running (1) or the slot served (0).
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert_eq!(artefacts(root), ["orders_backup_20261122T120000Z.sqlite.zst"]);
    let (code, stdout, _) = run(root, "2026-11-22T14:00:00Z", &["backup", "list", "--job", "orders", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let rows = rows.as_array().expect("rows");
    // The slower one leaves a row of its own when it met the job at work, and none when the slot was served.
    let (skipped, rows): (Vec<_>, Vec<_>) = rows.iter().partition(|it| it["state"] == "skipped");
    assert_eq!(skipped.len(), codes.iter().filter(|it| **it == Some(1)).count());
    let states: Vec<&str> = rows.iter().filter_map(|it| it["state"].as_str()).collect();
    assert_eq!((code, states), (0, vec!["ok", "missed"]));
    assert_eq!(rows[0]["slot"], "2026-11-22T01:00:00Z");
    assert_eq!(rows[1]["slot"], "2026-11-21T01:00:00Z");
}

#[test]
fn a_clock_that_goes_back_deletes_nothing() {
    let dir = world();
    let root = dir.path();
    for time in ["2026-11-22T12:00:00Z", "2026-11-21T12:00:00Z", "1970-01-01T00:00:00Z"] {
        assert_eq!(run(root, time, &["backup", "run", "orders"]).0, 0, "{time}");
    }
    assert_eq!(artefacts(root).len(), 3);
    let (_, _, stderr) = run(root, "2026-11-21T13:00:00Z", &["backup", "run", "orders"]);
    assert_eq!(stderr, "warning: `disk`: nothing is deleted: the clock is behind the newest copy\n");
    assert_eq!(run(root, "2026-11-23T12:00:00Z", &["backup", "run", "orders"]).0, 0);
    assert_eq!(artefacts(root), ["orders_backup_20261123T120000Z.sqlite.zst"]);
}

#[test]
fn failures_and_damage_give_one_and_a_wrong_name_gives_two() {
    let dir = world();
    let root = dir.path();
    let now = "2026-11-22T12:00:00Z";
    let (code, _, stderr) = run(root, now, &["backup", "run", "gone"]);
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        "error: backup job `gone` failed\ncaused by: could not read `ROOT/nowhere`: no such file or directory\n"
    );
    let (code, _, stderr) = run(root, now, &["backup", "run", "ordres"]);
    assert_eq!((code, stderr.as_str()), (2, "error: unknown backup job: ordres\nhint: did you mean `orders`?\n"));
    assert_eq!(run(root, now, &["backup", "run", "orders"]).0, 0);
    assert_eq!(run(root, now, &["backup", "verify", "--all"]).0, 0);
    let artefact = root.join("disk").join(&artefacts(root)[0]);
    let mut bytes = fs::read(&artefact).expect("artefact");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&artefact, bytes).expect("damaged");
    let (code, stdout, _) = run(root, now, &["backup", "verify", "orders"]);
    assert_eq!(code, 1);
    assert!(stdout.contains(": corrupt\n  disk: corrupt "), "{stdout}");
    let (_, stdout, _) = run(root, "2026-11-22T14:00:00Z", &["backup", "list", "--job", "gone"]);
    // The duration is the monotonic clock's and differs from run to run.
    let words = |line: &str| {
        line.split_whitespace()
            .enumerate()
            .filter(|(at, _)| *at != 5)
            .map(|(_, it)| it.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "JOB STARTED AGE TOOK SIZE CHANGE STATE COPIES"
    );
    assert_eq!(
        words(lines[1]),
        "gone 2026-11-22 12:00:00 +00:00 2h - - failed could not read `ROOT/nowhere`: no such file or directory"
    );
}

#[test]
fn the_restore_commands_restore_with_plain_tools() {
    for name in ["sh", "sha256sum", "zstd", "sqlite3"] {
        let found =
            std::env::var_os("PATH").is_some_and(|it| std::env::split_paths(&it).any(|dir| dir.join(name).is_file()));
        if !found {
            assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`{name}` is not installed");
            // The harness shows it with `--nocapture`.
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {name} not found\n").as_bytes());
            return;
        }
    }
    let dir = world();
    let root = dir.path();
    assert_eq!(run(root, "2026-11-22T12:00:00Z", &["backup", "run", "orders"]).0, 0);
    let manifest = root.join("disk/orders_backup_20261122T120000Z.sqlite.zst.manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).expect("manifest")).expect("JSON");
    let lines: Vec<&str> =
        manifest["restore_commands"].as_array().expect("list").iter().filter_map(|it| it.as_str()).collect();
    let restored =
        Command::new("sh").args(["-e", "-c", &lines.join("\n")]).current_dir(root.join("disk")).output().expect("sh");
    let stdout = String::from_utf8_lossy(&restored.stdout);
    assert!(restored.status.success() && stdout.ends_with("ok\n"), "{restored:?}");
    let copy = rusqlite::Connection::open(root.join("disk/orders.restored.sqlite")).expect("restored");
    let count: i64 = copy.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).expect("count");
    assert_eq!(count, 3);
    let sums = Command::new("sha256sum")
        .args(["-c", "SHA256SUMS"])
        .current_dir(root.join("disk"))
        .output()
        .expect("sha256sum");
    assert!(sums.status.success(), "{sums:?}");
}
