//! `command` with real plugins, whose ranges must say what their exit codes say, and with hostile ones.

use std::fs;
use std::path::Path;

use hotseat::domain::probe::outcome::{Cause, Outcome, Phase, ProbeResult};

use super::monitors::look;
use super::peers::program;

/// Runs a script as a plugin.
async fn run(script: &str, more: &str) -> Outcome {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), script).unwrap();
    look(&format!("command = ['/bin/sh', {:?}]\n{more}", file.path())).await
}

/// Waits until no process has this among its words; a signal needs a moment to arrive.
fn is_gone(word: &str) -> bool {
    let runs = || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let words = |path: &Path| fs::read(path.join("cmdline")).unwrap_or_default();
        entries.map(|it| words(&it.path())).any(|it| it.split(|byte| *byte == 0).any(|it| it == word.as_bytes()))
    };
    for _ in 0..100_000 {
        if !runs() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[tokio::test]
async fn the_ranges_decide_where_the_config_asks_for_them() {
    let script = "echo 'all is well | load=3;2;9 heat=99;70;90'";
    assert_eq!(run(script, "").await.result, ProbeResult::Ok, "the exit code says so");
    let outcome = run(script, "expect = ['crits == 0']").await;
    assert_eq!(outcome.result, ProbeResult::Fail);
    assert_eq!(outcome.trouble.expect("why").text, "crits is 1, expected crits == 0");
    assert_eq!(run(script, "prefer = ['warns < 2']").await.result, ProbeResult::Degraded);
    assert_eq!(run(script, "expect = ['perf.load < 4', 'warns == 2']").await.result, ProbeResult::Ok);
}

#[tokio::test]
async fn the_ranges_of_real_plugins_say_what_their_exit_codes_say() {
    for (name, arguments, wanted) in [
        ("check_load", "'-w', '0,0,0', '-c', '9000,9000,9000'", None),
        ("check_load", "'-w', '9000,9000,9000', '-c', '9001,9001,9001'", Some(ProbeResult::Ok)),
        ("check_disk", "'-w', '0%', '-c', '0%', '-p', '/'", Some(ProbeResult::Ok)),
        ("check_disk", "'-w', '100%', '-c', '0%', '-p', '/'", Some(ProbeResult::Degraded)),
        ("check_disk", "'-w', '100%', '-c', '100%', '-p', '/'", Some(ProbeResult::Fail)),
        ("check_users", "'-w', '9000', '-c', '9001'", Some(ProbeResult::Ok)),
        ("check_procs", "'-w', '0', '-c', '100000'", Some(ProbeResult::Degraded)),
        ("check_procs", "'-w', '0', '-c', '0'", Some(ProbeResult::Fail)),
        ("check_procs", "'-w', '@0:0', '-c', '@0:0'", Some(ProbeResult::Ok)),
    ] {
        if program(name).is_none() {
            return;
        }
        let outcome = look(&format!("command = ['{name}', {arguments}]\ntimeout = '20s'")).await;
        assert!(!outcome.evidence.perf.is_empty() && !outcome.evidence.parts.is_empty(), "{name}: {outcome:?}");
        let badness = |it: ProbeResult| {
            [ProbeResult::Ok, ProbeResult::Degraded, ProbeResult::Fail].iter().position(|at| *at == it)
        };
        let worst = outcome.evidence.parts.iter().map(|it| it.result).max_by_key(|it| badness(*it));
        assert_eq!(worst, Some(outcome.result), "{name} {arguments}: {outcome:?}");
        // The load of an idle host may be nothing at all.
        assert!(wanted.is_none_or(|it| it == outcome.result), "{name} {arguments}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_a_plugin_prints_is_harmless_bounded_and_still_judged() {
    let outcome =
        run("printf '\\033]0;pwned\\007\\033[2JDISK CRITICAL - \\033[31mfull\\377\\376 | a=1;2;3\\n'; exit 2", "")
            .await;
    assert_eq!((outcome.result, outcome.brief().contains("full")), (ProbeResult::Fail, true), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains(['\u{1b}', '\u{7}']), "{outcome:?}");
    assert_eq!(outcome.evidence.perf.len(), 1);
    let outcome = run("head -c 1048576 /dev/zero | tr '\\0' x; exit 1", "timeout = '20s'").await;
    assert_eq!(
        (outcome.result, outcome.evidence.cut, outcome.evidence.body_bytes),
        (ProbeResult::Degraded, true, 1 << 20)
    );
    assert!(format!("{outcome:?}").len() < 16 << 10);
    let outcome = run("read line || echo 'OK - no input'", "").await;
    assert_eq!((outcome.result, outcome.evidence.text.as_str()), (ProbeResult::Ok, "OK - no input"));
    let outcome = run("test -t 0 || test -t 1 || test -t 2 || echo 'OK - no terminal'", "").await;
    assert_eq!(outcome.evidence.text, "OK - no terminal");
}

#[tokio::test]
async fn nothing_of_a_plugin_that_forks_and_hangs_is_left_behind() {
    let outcome = run("sleep 918273 & sleep 918273 & echo begun; sleep 918273", "timeout = '300ms'").await;
    let trouble = outcome.trouble.as_ref().expect("trouble");
    assert_eq!((outcome.result, trouble.cause), (ProbeResult::Fail, Cause::Timeout(Phase::Run)));
    assert_eq!(outcome.evidence.text, "begun");
    assert!(is_gone("918273"), "a child was left behind");
    // It ends, but what it started holds its output open.
    let outcome = run("sleep 918274 & echo 'OK - done'", "").await;
    assert_eq!((outcome.result, outcome.evidence.text.as_str()), (ProbeResult::Ok, "OK - done"));
    assert!(is_gone("918274"), "a child was left behind");
    // It does not want to go.
    let outcome = run("trap '' TERM INT HUP; while :; do sleep 918275; done", "timeout = '300ms'").await;
    assert_eq!(outcome.result, ProbeResult::Fail);
    assert!(is_gone("918275"), "a child was left behind");
}

#[tokio::test]
async fn output_without_end_is_a_timeout_and_takes_no_memory() {
    let outcome = run("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", "timeout = '300ms'").await;
    assert_eq!(outcome.trouble.as_ref().map(|it| it.cause), Some(Cause::Timeout(Phase::Run)));
    assert!(format!("{outcome:?}").len() < 16 << 10);
}

#[tokio::test]
async fn a_plugin_gets_no_core_and_bounded_processor_time() {
    // The limits come right after the start.
    let script = "while [ \"$(ulimit -t)\" = unlimited ]; do :; done\necho \"OK - $(ulimit -t) $(ulimit -c)\"";
    let outcome = run(script, "timeout = '20s'\ninterval = '1m'").await;
    let seconds: u64 = outcome.evidence.text.split(' ').nth(2).and_then(|it| it.parse().ok()).expect("a number");
    assert!((20..=22).contains(&seconds) && outcome.evidence.text.ends_with(" 0"), "{outcome:?}");
}
