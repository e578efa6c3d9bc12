//! The command line of the real binary: help, exit codes, streams. The environment is empty but for what a
//! test gives, so that the machine does not show through.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A home of its own for one test.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("temporary directory") }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "UTC")
            .env("COLUMNS", "100")
            .env("HOTSEAT_USER", "alice")
            .env("HOTSEAT_FIXED_TIME", "2026-08-19T14:51:30Z")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Both streams and the exit code, with the home's path replaced.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the binary starts");
        self.show(arguments, &output)
    }

    fn show(&self, arguments: &[&str], output: &Output) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&self.path().display().to_string(), "HOME");
        let code = output.status.code().map_or_else(|| "signal".to_string(), |it| it.to_string());
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        format!("$ hotseat {}\n{stdout}--- stderr\n{stderr}--- exit {code}\n", arguments.join(" "))
    }
}

#[test]
fn help_fits_one_page_and_names_every_command() {
    insta::assert_snapshot!("cli_help", Home::new().run(&["--help"]));
}

#[test]
fn mistakes_on_the_command_line_exit_with_2_and_those_of_probe_with_3() {
    let home = Home::new();
    let said =
        [&["chekc"][..], &["check", "--jsn"], &["completions", "tcsh"], &["probe", "--bad"], &["man", "nothing"]];
    insta::assert_snapshot!("cli_usage", said.map(|it| home.run(it)).join("\n"));
}

#[test]
fn init_writes_a_private_file_and_never_overwrites() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let said =
        [&["check"][..], &["init"], &["init"], &["check"], &["init", "--force"]].map(|it| home.run(it)).join("\n");
    insta::assert_snapshot!("cli_init", said);
    let file = home.path().join(".config/hotseat/config.toml");
    assert_eq!(std::fs::metadata(&file).expect("config").permissions().mode() & 0o777, 0o600);
    assert!(file.with_file_name("config.toml.bak").is_file());
}

#[test]
fn a_secret_that_others_can_read_is_a_warning_without_the_secret() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let file = home.path().join("c.toml");
    std::fs::write(&file, "[host]\nname = 'edge-1'\napi_token = 's3cret'\n").expect("written");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("permissions");
    let said = home.run(&["--config", "c.toml", "check"]);
    assert!(said.contains("warning: `api_token` is written out and others on this host can read the file"), "{said}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("permissions");
    assert!(!home.run(&["--config", "c.toml", "check"]).contains("warning"), "nobody else can read it now");
}

#[test]
fn json_goes_to_stdout_alone() {
    let home = Home::new();
    std::fs::write(home.path().join("c.toml"), "[screen]\nmose = true\n").expect("written");
    let output = home.command(&["--config", "c.toml", "check", "--json"]).output().expect("the binary starts");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["errors"][0]["line"], 2);
    assert_eq!(report["errors"][0]["hint"], "did you mean `mouse`?");
    assert_eq!(output.stderr, b"");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn doctor_says_for_every_row_how_it_is_and_what_to_do() {
    let home = Home::new();
    let output = home.command(&["doctor", "--json"]).output().expect("the binary starts");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = |what: &str| {
        rows.iter().find(|it| it["what"] == what).unwrap_or_else(|| panic!("no row `{what}`: {rows:?}")).clone()
    };
    assert_eq!(row("state")["state"], "ok");
    assert_eq!(row("characters")["state"], "warn");
    assert_eq!(row("config")["state"], "warn");
    for row in &rows {
        assert!(row["state"] == "ok" || row["hint"].is_string(), "what to do about it: {row}");
    }
    // A file where the state directory should be.
    std::fs::write(home.path().join("file"), "").expect("written");
    let output = home.command(&["--state-dir", "file", "doctor"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAIL  state "));
}

#[test]
fn completions_and_manual_know_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.command(&["completions", shell]).output().expect("the binary starts").stdout;
        assert!(String::from_utf8_lossy(&script).contains("doctor"), "{shell}");
    }
    let page = |arguments: &[&str]| {
        let output = home.command(arguments).output().expect("the binary starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(page(&["man"]).contains(".TH hotseat 1"));
    assert!(page(&["man", "check"]).contains(".TH hotseat-check 1"));
}

#[test]
fn the_screen_is_refused_without_a_terminal_and_the_commands_are_named() {
    insta::assert_snapshot!("cli_no_terminal", Home::new().run(&[]));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    let mut child =
        home.command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    // The script is longer than a pipe holds, so the writer meets the closed end whenever it comes to it.
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn the_version_names_the_kinds_that_exist() {
    let said = Home::new().run(&["--version"]);
    let kinds = Home::new().run(&["check", "--kinds", "--json"]);
    let kinds: Vec<serde_json::Value> =
        serde_json::from_str(kinds.lines().nth(1).expect("one line of JSON")).expect("JSON");
    for kind in kinds.iter().filter(|it| it["part"] != "destination") {
        let name = kind["name"].as_str().expect("a name");
        assert!(said.contains(name), "`{name}` is missing in: {said}");
    }
}
