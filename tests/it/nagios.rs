//! The rules of Nagios against the real program: the same results, the same state, attempt and percentage.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hotseat::clock;
use hotseat::domain::probe::nagios::NagiosMachine;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Services, each with results of its own.
const SERVICES: usize = 120;
/// Most results of one service: twice as many as Nagios remembers.
const RESULTS_MAX: usize = 45;
/// A deadline that only a broken test meets.
const LONG: Duration = Duration::from_secs(60);
/// What the last result says.
const LAST: &str = "that was all";

/// What is driven: `max_check_attempts` and results.
type Drive = (u8, Vec<u8>);

/// A Nagios of this test alone; ends with it.
struct Nagios {
    directory: tempfile::TempDir,
    child: Child,
}

impl Nagios {
    fn start(program: &Path, drives: &[Drive]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        fs::create_dir(at("results")).expect("made");
        fs::write(at("objects.cfg"), objects(drives)).expect("written");
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let mut config = String::new();
        for (key, value) in [
            ("log_file", at("nagios.log")),
            ("cfg_file", at("objects.cfg")),
            ("object_cache_file", at("objects.cache")),
            ("precached_object_file", at("objects.precache")),
            ("status_file", at("status.dat")),
            ("status_update_interval", "1".into()),
            ("nagios_user", uid.to_string()),
            ("nagios_group", gid.to_string()),
            ("check_external_commands", "1".into()),
            ("command_file", at("nagios.cmd")),
            ("query_socket", at("nagios.qh")),
            ("lock_file", at("nagios.pid")),
            ("temp_file", at("nagios.tmp")),
            ("temp_path", directory.path().display().to_string()),
            ("check_result_path", at("results")),
            ("execute_service_checks", "0".into()),
            ("execute_host_checks", "0".into()),
            ("accept_passive_service_checks", "1".into()),
            ("enable_notifications", "0".into()),
            ("enable_flap_detection", "1".into()),
            ("low_service_flap_threshold", "20.0".into()),
            ("high_service_flap_threshold", "30.0".into()),
            ("retain_state_information", "0".into()),
            ("check_for_updates", "0".into()),
        ] {
            let _ = writeln!(config, "{key}={value}");
        }
        fs::write(at("nagios.cfg"), config).expect("written");
        let child = Command::new(program)
            .arg(at("nagios.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        Self { directory, child }
    }

    /// Waits until `found` is something.
    fn wait<T>(&mut self, what: &str, found: impl Fn(&Path) -> Option<T>) -> T {
        let begun = clock::monotonic();
        loop {
            if let Some(it) = found(self.directory.path()) {
                return it;
            }
            let log = || fs::read_to_string(self.directory.path().join("nagios.log")).unwrap_or_default();
            assert!(self.child.try_wait().expect("asked").is_none(), "nagios ended before {what}: {}", log());
            assert!(begun.elapsed() < LONG, "no {what}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives it all results, in turn, and returns what it makes of each service.
    fn drive(&mut self, drives: &[Drive]) -> HashMap<String, HashMap<String, String>> {
        let pipe = self.wait("command file", |it| {
            let path = it.join("nagios.cmd");
            fs::metadata(&path).is_ok_and(|it| it.file_type().is_fifo()).then_some(path)
        });
        let mut pipe = OpenOptions::new().write(true).open(pipe).expect("opened");
        let now = clock::now().as_second();
        for (index, (_, results)) in drives.iter().enumerate() {
            for result in results {
                let line = format!("[{now}] PROCESS_SERVICE_CHECK_RESULT;h;s{index};{result};as driven\n");
                pipe.write_all(line.as_bytes()).expect("written");
            }
        }
        let line = format!("[{now}] PROCESS_SERVICE_CHECK_RESULT;h;s{};0;{LAST}\n", drives.len());
        pipe.write_all(line.as_bytes()).expect("written");
        self.wait("status", |it| {
            let text = fs::read_to_string(it.join("status.dat")).ok()?;
            text.contains(LAST).then(|| services(&text))
        })
    }
}

impl Drop for Nagios {
    fn drop(&mut self) {
        // Its workers end when it does. It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One directive to a line, or it does not read them. The last service ends the drive.
fn objects(drives: &[Drive]) -> String {
    let mut text = "define command{\ncommand_name ok\ncommand_line /bin/true\n}\n\
        define timeperiod{\ntimeperiod_name always\nalias always\n}\n\
        define contact{\ncontact_name c\nhost_notification_period always\nservice_notification_period always\n\
        host_notification_commands ok\nservice_notification_commands ok\n}\n\
        define host{\nhost_name h\naddress 127.0.0.1\nmax_check_attempts 1\ncontacts c\n}\n"
        .to_string();
    for (index, attempts) in drives.iter().map(|(attempts, _)| *attempts).chain([1]).enumerate() {
        let _ = write!(
            text,
            "define service{{\nhost_name h\nservice_description s{index}\ncheck_command ok\n\
             max_check_attempts {attempts}\ncheck_interval 1\nretry_interval 1\nactive_checks_enabled 0\n\
             passive_checks_enabled 1\ncontacts c\n}}\n"
        );
    }
    text
}

/// `servicestatus` blocks by the name of the service.
fn services(text: &str) -> HashMap<String, HashMap<String, String>> {
    let block = |it: &str| {
        let lines = it.split_once('}').map_or(it, |(it, _)| it).lines();
        let fields: HashMap<String, String> =
            lines.filter_map(|it| it.trim().split_once('=')).map(|(key, it)| (key.into(), it.into())).collect();
        Some((fields.get("service_description")?.clone(), fields))
    };
    text.split("servicestatus {").skip(1).filter_map(block).collect()
}

fn program() -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&format!("{path}:/usr/sbin")).map(|it| it.join("nagios4")).find(|it| it.is_file());
    if found.is_none() {
        assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`nagios4` is not installed");
        // The harness shows it with `--nocapture`.
        let _ = std::io::stderr().write_all(b"skipped: nagios4 not found\n");
    }
    found
}

#[test]
fn random_results_give_what_the_real_nagios_makes_of_them() {
    let Some(program) = program() else { return };
    let mut runner = TestRunner::deterministic();
    let results = prop_oneof![
        proptest::collection::vec(0u8..4, 1..RESULTS_MAX),
        // What is mostly well turns to and fro more often.
        proptest::collection::vec(prop_oneof![3 => Just(0u8), 2 => Just(2u8)], 1..RESULTS_MAX),
    ];
    let drive = (1u8..5, results);
    let drives: Vec<Drive> = (0..SERVICES).map(|_| drive.new_tree(&mut runner).expect("a value").current()).collect();
    let theirs = Nagios::start(&program, &drives).drive(&drives);
    let mut flapped = 0;
    for (index, (attempts, results)) in drives.iter().enumerate() {
        let mut ours = NagiosMachine::default();
        results.iter().for_each(|it| ours.apply(*it, *attempts));
        let theirs = &theirs[&format!("s{index}")];
        let what = format!("{attempts} attempts, {results:?}");
        assert_eq!(theirs["current_state"], ours.state().to_string(), "state: {what}");
        assert_eq!(theirs["state_type"], u8::from(ours.is_hard()).to_string(), "soft or hard: {what}");
        assert_eq!(theirs["current_attempt"], ours.attempt().to_string(), "attempt: {what}");
        assert_eq!(theirs["is_flapping"], u8::from(ours.is_flapping()).to_string(), "flapping: {what}");
        let percent: f64 = theirs["percent_state_change"].parse().expect("a number");
        assert!((percent - ours.percent()).abs() <= 0.01, "{percent} is not {}: {what}", ours.percent());
        flapped += usize::from(ours.is_flapping());
    }
    assert!((5..SERVICES - 5).contains(&flapped), "the drive has something of both: {flapped}");
}
