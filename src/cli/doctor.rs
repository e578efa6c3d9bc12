//! `hotseat doctor`: check the terminal, the limits and the directories.

mod alerts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::termios::{isatty, tcgetwinsize};
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::{Context, logging};
use crate::clock;
use crate::config::paths;
use crate::domain::{format, sanitise};
use crate::registry::node::Commands;
use crate::service::log::LogInput;
use crate::service::probe::icmp;
use crate::store::file_system;

/// Check the terminal, the limits and the directories
///
/// Every row says ok, warn or fail, and what to do about it. Exits with 1 when a row says fail.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON array
    #[arg(long)]
    pub json: bool,
}

/// Check the terminal, the limits and the directories.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let env = Environment(&|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let findings = findings(cx, &env);
    if args.json {
        out.json(&findings)?;
    } else {
        for finding in &findings {
            out.stdout.write_all(finding.text().as_bytes())?;
        }
    }
    let failed = findings.iter().any(|it| it.state == State::Fail);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    /// What to do about it.
    hint: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Ok, found: found.into(), hint: None }
    }

    fn warn(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, state: State::Warn, found: found.into(), hint: Some(hint.into()) }
    }

    fn fail(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, state: State::Fail, found: found.into(), hint: Some(hint.into()) }
    }

    fn text(&self) -> String {
        let state = match self.state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        let mut text = format!("{state}  {:<12}  {}\n", self.what, self.found);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{:20}hint: {hint}\n", ""));
        }
        text
    }
}

/// Variables of the environment, given in tests.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

fn findings(cx: &Context, env: &Environment<'_>) -> Vec<Finding> {
    let state_dir = cx.state_dir();
    let mut findings = vec![
        Finding::ok("version", format!("hotseat {}", crate::cli::LONG_VERSION.lines().next().unwrap_or_default())),
        who(cx),
        config(cx),
        writable("state", &state_dir),
    ];
    findings.extend(network_file_system(&state_dir));
    findings.push(Finding::ok("log", logging::file(&state_dir).display().to_string()));
    if let Some(themes) = paths::themes_dir() {
        let count = fs::read_dir(&themes).map_or(0, |it| it.flatten().count());
        findings
            .push(Finding::ok("themes", format!("{} ({})", themes.display(), format::plural(count as u64, "file"))));
    }
    findings.push(terminal(env));
    findings.push(colour(env));
    findings.push(utf8(env));
    findings.push(clipboard(env));
    findings.push(editor(env));
    findings.extend(inotify(Path::new("/proc/sys/fs/inotify")));
    findings.push(open_files());
    findings.push(ping(env));
    findings.push(certificates());
    findings.extend(programs(cx, env));
    findings.extend(alerts::findings(cx));
    findings.push(zone());
    findings
}

fn who(cx: &Context) -> Finding {
    let config = cx.load(Commands::Defer).config;
    let found = format!("{} on {}", paths::user_name(), cx.host(&config));
    if paths::user_name() == "root" {
        let hint = "on a shared account set HOTSEAT_USER, so that notes carry your name";
        return Finding::warn("you", found, hint);
    }
    Finding::ok("you", found)
}

fn config(cx: &Context) -> Finding {
    let loaded = cx.load(Commands::Defer);
    let Some(path) = loaded.config.path else {
        let usual =
            paths::config_file().map_or_else(|| "there is no home directory".into(), |it| it.display().to_string());
        return Finding::warn("config", format!("none ({usual})"), "run `hotseat init` to write a first one");
    };
    match loaded.errors.len() {
        0 => Finding::ok("config", path),
        count => Finding::fail(
            "config",
            format!("{path}: {}", format::plural(count as u64, "mistake")),
            "run `hotseat check` to see them",
        ),
    }
}

/// The programs that the config's logs are read with.
fn programs(cx: &Context, env: &Environment<'_>) -> Option<Finding> {
    let config = cx.load(Commands::Defer).config;
    let mut wanted: Vec<(String, String)> = Vec::new();
    for spec in &config.logs {
        for input in &spec.inputs {
            if let LogInput::Stream(producing) = input {
                let program = producing.producer.program().to_string();
                if !wanted.iter().any(|(it, _)| *it == program) {
                    wanted.push((program, spec.name.clone()));
                }
            }
        }
    }
    programs_found(&wanted, &env.get("PATH").unwrap_or_default())
}

fn programs_found(wanted: &[(String, String)], path: &str) -> Option<Finding> {
    let is_there = |program: &str| {
        let is_file = |it: &Path| fs::metadata(it).is_ok_and(|it| it.is_file());
        if program.contains('/') {
            return is_file(Path::new(program));
        }
        std::env::split_paths(path).any(|it| is_file(&it.join(program)))
    };
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(program, log)| format!("`{}` for the log `{log}`", sanitise::text(program)))
        .collect();
    let names = || wanted.iter().map(|(it, _)| sanitise::text(it)).collect::<Vec<_>>().join(", ");
    match (wanted.is_empty(), missing.is_empty()) {
        (true, _) => None,
        (false, true) => Some(Finding::ok("programs", names())),
        (false, false) => Some(Finding::fail(
            "programs",
            format!("not found: {}", missing.join(", ")),
            "install it, or add its directory to PATH; until then the log says so and is tried again",
        )),
    }
}

fn writable(what: &'static str, dir: &Path) -> Finding {
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let written =
        paths::make_private_dir(dir).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe));
    let found = dir.display();
    match written {
        Ok(()) => {
            let free = rustix::fs::statvfs(dir).map(|it| it.f_bavail * it.f_frsize);
            match free {
                Ok(free) if free < LOW_SPACE_BYTES => Finding::warn(
                    what,
                    format!("{found}, {} free", format::bytes(free)),
                    "make room: notes, journals and spools of piped logs are kept there",
                ),
                Ok(free) => Finding::ok(what, format!("{found}, {} free", format::bytes(free))),
                Err(_) => Finding::ok(what, found.to_string()),
            }
        }
        Err(error) => Finding::fail(
            what,
            format!("{found}: {error}"),
            "notes cannot be saved; make it writable, or name another directory with HOTSEAT_STATE_DIR",
        ),
    }
}

/// Below this a busy piped log may fill the disk within the hour.
const LOW_SPACE_BYTES: u64 = 256 << 20;

fn network_file_system(dir: &Path) -> Option<Finding> {
    let (name, kind) = file_system::of(dir);
    let depends = "; set HOTSEAT_STATE_DIR to a local disk";
    match kind {
        file_system::Kind::Local => None,
        file_system::Kind::Network => Some(Finding::warn(
            "file system",
            format!("the state directory is on {name}"),
            format!("locks, fsync of notes and the history of probes depend on the server there{depends}"),
        )),
        file_system::Kind::Fuse => Some(Finding::warn(
            "file system",
            format!("the state directory is on {name}"),
            format!("whether locks and fsync hold depends on the program behind it{depends}"),
        )),
    }
}

fn terminal(env: &Environment<'_>) -> Finding {
    let term = env.get("TERM").unwrap_or_else(|| "not set".into());
    let cli = "the screen needs a terminal; `hotseat status`, `hotseat logs` and the other commands do not";
    if !isatty(rustix::stdio::stdout()) {
        return Finding::warn("terminal", "standard output is no terminal", cli);
    }
    if term == "dumb" || term == "not set" {
        return Finding::warn(
            "terminal",
            format!("TERM is {term}"),
            format!("{cli}; set TERM to what the terminal is"),
        );
    }
    let size = tcgetwinsize(rustix::stdio::stdout()).map_or((0, 0), |it| (it.ws_col, it.ws_row));
    let found = format!("{term}, {}x{}", size.0, size.1);
    if size.0 < 40 || size.1 < 12 {
        return Finding::warn("terminal", found, "make it at least 40x12, better 80x24");
    }
    Finding::ok("terminal", found)
}

fn colour(env: &Environment<'_>) -> Finding {
    let term = env.get("TERM").unwrap_or_default();
    let true_colour = matches!(env.get("COLORTERM").as_deref(), Some("truecolor" | "24bit"));
    if env.has("NO_COLOR") {
        Finding::ok("colours", "none, because NO_COLOR is set; state is shown by words and marks")
    } else if true_colour {
        Finding::ok("colours", "24 bit")
    } else if term.contains("256color") {
        Finding::ok("colours", "256 (set COLORTERM=truecolor when the terminal has 24 bit; ssh does not carry it)")
    } else {
        Finding::ok("colours", "16")
    }
}

fn utf8(env: &Environment<'_>) -> Finding {
    let (name, value) = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env.get(name).map(|value| (*name, value)))
        .unwrap_or(("LANG", String::new()));
    let folded = value.to_lowercase().replace('-', "");
    if folded.contains("utf8") {
        return Finding::ok("characters", format!("UTF-8 ({name}={value})"));
    }
    let found = if value.is_empty() { "no locale is set".to_string() } else { format!("{name}={value} is not UTF-8") };
    Finding::warn("characters", format!("{found}: ASCII only"), "set LC_ALL=C.UTF-8 to see lines and Chinese text")
}

fn clipboard(env: &Environment<'_>) -> Finding {
    let copy = "copies also land in `last-copy.txt` in the state directory";
    if env.has("TMUX") {
        return Finding::warn(
            "clipboard",
            "tmux keeps OSC 52 to itself by default",
            format!("run `tmux set -g set-clipboard on`; {copy}"),
        );
    }
    if env.has("STY") {
        return Finding::warn("clipboard", "screen does not pass OSC 52 on", copy);
    }
    if env.get("TERM").as_deref() == Some("linux") {
        return Finding::warn("clipboard", "the Linux console has none", copy);
    }
    Finding::ok("clipboard", format!("OSC 52, if the terminal allows it; {copy}"))
}

fn editor(env: &Environment<'_>) -> Finding {
    let Some((name, line)) = ["VISUAL", "EDITOR"].iter().find_map(|name| env.get(name).map(|it| (*name, it))) else {
        return match find_program("vi", env) {
            Some(path) => Finding::ok("editor", format!("{}, because VISUAL and EDITOR are not set", path.display())),
            None => Finding::warn("editor", "none", "set EDITOR; the built-in editor works without it"),
        };
    };
    let program = line.split_whitespace().next().unwrap_or_default();
    match find_program(program, env) {
        Some(_) => Finding::ok("editor", format!("{line} ({name})")),
        None => Finding::warn(
            "editor",
            format!("{name}={line}: no such program"),
            format!("set {name} to one that is installed"),
        ),
    }
}

fn find_program(program: &str, env: &Environment<'_>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|it| it.is_file());
    }
    let path = env.get("PATH")?;
    std::env::split_paths(&path).map(|it| it.join(program)).find(|it| it.is_file())
}

/// Fewer instances than this and a desktop or a container host is likely to run out.
const INSTANCES_LOW: u64 = 64;
/// Every log file, folder and the config take one watch; other programs need theirs.
const WATCHES_LOW: u64 = 4096;

fn inotify(folder: &Path) -> Option<Finding> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let (instances, watches) = (read("max_user_instances")?, read("max_user_watches")?);
    let found = format!("{instances} instances, {} watches a user", format::count(watches));
    if instances < INSTANCES_LOW || watches < WATCHES_LOW {
        let hint = "files are polled when they run out; raise them: `sysctl fs.inotify.max_user_watches=65536 fs.inotify.max_user_instances=512`";
        return Some(Finding::warn("inotify", found, hint));
    }
    Some(Finding::ok("inotify", found))
}

/// Every log file and every running check takes one.
const OPEN_FILES_LOW: u64 = 512;

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < OPEN_FILES_LOW => Finding::warn(
            "open files",
            format!("at most {limit}"),
            "raise it with `ulimit -n 4096` before you start hotseat",
        ),
        Some(limit) => Finding::ok("open files", format!("at most {}", format::count(limit))),
        None => Finding::ok("open files", "no limit"),
    }
}

/// How a probe of kind `icmp` pings here.
fn ping(env: &Environment<'_>) -> Finding {
    match icmp::ways::open(std::net::Ipv4Addr::LOCALHOST.into()) {
        Ok(_) => Finding::ok("ping", "by unprivileged ICMP sockets"),
        Err(_) if find_program("ping", env).is_some() => Finding::ok("ping", "by the `ping` program"),
        Err(error) => Finding::warn(
            "ping",
            format!("ICMP sockets are not permitted ({error}) and there is no `ping`: icmp probes connect by TCP"),
            "set `net.ipv4.ping_group_range` to your group, or install `iputils-ping`",
        ),
    }
}

fn certificates() -> Finding {
    let found = rustls_native_certs::load_native_certs();
    match found.certs.len() {
        0 => Finding::warn(
            "CA store",
            "the host has no CA certificates",
            "install `ca-certificates`, or set SSL_CERT_FILE; until then https is checked against the built-in Mozilla roots",
        ),
        count => Finding::ok("CA store", format!("{count} certificates")),
    }
}

fn zone() -> Finding {
    let zone = clock::zone();
    let now = clock::now().to_zoned(zone.clone());
    let name = zone.iana_name().map_or_else(|| "no name".to_string(), ToString::to_string);
    Finding::ok("time zone", format!("{name}, now {}", now.strftime("%Y-%m-%d %H:%M:%S %:z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(
        variables: &'static [(&'static str, &'static str)],
        finding: fn(&Environment<'_>) -> Finding,
    ) -> (State, String) {
        let get = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_string());
        let finding = finding(&Environment(&get));
        (finding.state, finding.found)
    }

    #[test]
    fn a_multiplexer_that_eats_copies_is_named() {
        assert_eq!(with(&[("TMUX", "/tmp/x,1,0")], clipboard).0, State::Warn);
        assert_eq!(with(&[("STY", "1.pts")], clipboard).0, State::Warn);
        assert_eq!(with(&[("TERM", "xterm")], clipboard).0, State::Ok);
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        assert_eq!(with(&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")], utf8).0, State::Warn);
        assert_eq!(with(&[("LANG", "zh_CN.utf8")], utf8), (State::Ok, "UTF-8 (LANG=zh_CN.utf8)".into()));
        assert_eq!(with(&[], utf8).1, "no locale is set: ASCII only");
    }

    #[test]
    fn a_program_that_a_log_needs_and_is_not_there_is_named_with_the_log() {
        let wanted = |program: &str| vec![(program.to_string(), "shop".to_string())];
        let finding = programs_found(&wanted("kubectl"), "/nowhere").expect("a finding");
        assert_eq!((finding.state, finding.found.as_str()), (State::Fail, "not found: `kubectl` for the log `shop`"));
        let finding = programs_found(&wanted("sh"), "/nowhere:/bin:/usr/bin").expect("a finding");
        assert_eq!((finding.state, finding.found.as_str()), (State::Ok, "sh"));
        assert!(programs_found(&[], "/bin").is_none());
    }

    #[test]
    fn an_editor_that_is_not_installed_is_a_warning() {
        assert_eq!(with(&[("EDITOR", "hotseat-no-such-editor --wait"), ("PATH", "/nowhere")], editor).0, State::Warn);
    }

    #[test]
    fn low_limits_are_a_warning_and_no_inotify_is_nothing_to_say() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(inotify(dir.path()).is_none());
        fs::write(dir.path().join("max_user_instances"), "128\n").expect("written");
        fs::write(dir.path().join("max_user_watches"), "1024\n").expect("written");
        assert_eq!(inotify(dir.path()).map(|it| it.state), Some(State::Warn));
    }
}
