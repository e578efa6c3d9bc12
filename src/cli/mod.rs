//! Sub-commands: they parse, call and format.

pub mod ack;
pub mod agent;
pub mod alerts;
pub mod attach;
pub mod backup;
pub mod beat;
pub mod check;
pub mod completions;
pub mod declare;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod failure;
pub mod hosts;
pub mod incident;
pub mod init;
pub mod keys;
pub mod logging;
pub mod logs;
pub mod maintenance;
pub mod man;
pub mod note;
pub mod oncall;
pub mod open;
pub mod output;
mod past;
pub mod probe;
pub mod replay;
pub mod silence;
pub mod status;
pub mod store;
pub mod test_notify;
pub mod themes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::app::keymap::Keymap;
use crate::cli::failure::Failure;
use crate::cli::output::{ColorChoice, Output};
use crate::config::{self, Config, Loaded, paths};
use crate::domain::config_error::did_you_mean;
use crate::domain::format::plural;
use crate::domain::ids::HostId;
use crate::registry::node::Commands;
use crate::runtime::lock;

/// What `--version` prints; `-V` prints the first line.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nprobes: http, tcp, dns, tls, icmp, grpc, websocket, command, prometheus, alertmanager, heartbeat,",
    "\n        journey, pool, host, logs",
    "\nlogs: file, stdin, command, journald, docker, podman, kubernetes, ssh, loki, elasticsearch",
    "\nnotifiers: twilio, slack, pagerduty, smtp, ntfy, webhook, alertmanager, command, terminal",
    "\narchives: gzip, zstd, bzip2, xz",
    "\nbackups: file, sqlite",
    "\ntls: rustls with the host's and the Mozilla roots",
);

const EXAMPLES: &str = "\
Examples:
  hotseat                          open the screen on the config, else on the host's own logs
  hotseat /var/log/nginx/*.log     open it on these files
  kubectl logs -f api | hotseat -  open it on a pipe
  hotseat attach ssh:db1           open it on the agent of another host
  hotseat demo                     watch a scripted outage; needs no config
  hotseat status --json            what is red, for a script

Exit codes: 0 fine, 1 a check failed, 2 usage or config, 3 internal.
`hotseat probe` exits like a Nagios plugin (0, 1, 2, 3) and with 3 for everything else.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "hotseat",
    version,
    long_version = LONG_VERSION,
    about,
    after_help = EXAMPLES,
    // A file named like a command is opened as `./status`.
    subcommand_precedence_over_arg = true
)]
pub struct Cli {
    /// Read this config instead of `$XDG_CONFIG_HOME/hotseat/config.toml`
    #[arg(long, global = true, value_name = "FILE", env = "HOTSEAT_CONFIG")]
    pub config: Option<PathBuf>,

    /// Keep journals, notes and drafts here instead of in `$XDG_STATE_HOME/hotseat`
    #[arg(long, global = true, value_name = "DIR", env = "HOTSEAT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// When to use colour (also `NO_COLOR`, `CLICOLOR_FORCE`)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Say more in the log file (twice: everything); `hotseat doctor` shows where it is
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// What to do; without it the screen opens
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What the screen opens on
    #[command(flatten)]
    pub open: open::Args,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep watch without a screen: probes, alerts, backups, logs
    Agent(agent::Args),
    /// Show probes, backups and open incidents in one page
    Status(status::Args),
    /// Run a probe once and print its phases; exits like a Nagios plugin
    Probe(probe::Args),
    /// Print log records that match a query
    Logs(logs::Args),
    /// Open the screen on agents of other hosts, over your own ssh
    Attach(attach::Args),
    /// List, run or verify backups
    Backup(backup::Args),
    /// List, show or change incidents
    Incident(incident::Args),
    /// Add a note to the open incident or to the day's log-book
    Note(note::Args),
    /// Declare an incident
    Declare(declare::Args),
    /// Show open alerts, who was told, and what is not sent yet
    Alerts(alerts::Args),
    /// Mark a failing probe as seen by you
    Ack(ack::Args),
    /// Keep alerts quiet for a while
    Silence(silence::Args),
    /// Plan, list or end maintenances
    Maintenance(maintenance::Args),
    /// Say who is on call, until when, and who is next
    Oncall(oncall::Args),
    /// Say why somebody was paged about a probe, or nobody
    Explain(explain::Args),
    /// Print the pages that the config would send for recorded outcomes
    Replay(replay::Args),
    /// Report to a heartbeat that a job is done
    Beat(beat::Args),
    /// Send a test message through a notifier and say what it answered
    TestNotify(test_notify::Args),
    /// Check the config and say what it would do
    Check(check::Args),
    /// Write a commented config to start from
    Init(init::Args),
    /// List all commands and their keys
    Keys(keys::Args),
    /// List themes or show one
    Themes(themes::Args),
    /// Show, check or rebuild what is kept of probes and alerts
    Store(store::Args),
    /// Check the terminal, the limits and the directories
    Doctor(doctor::Args),
    /// Play a scripted outage on real loopback services, logs and backups
    Demo(demo::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}

/// What every sub-command may look at.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `--config`, when given.
    pub config: Option<PathBuf>,
    /// `--state-dir`, when given.
    pub state_dir: Option<PathBuf>,
    /// `--color`.
    pub color: ColorChoice,
    /// `-v`, counted.
    pub verbose: u8,
}

impl Context {
    /// Takes the options that all commands share.
    pub fn new(cli: &Cli) -> Self {
        Self { config: cli.config.clone(), state_dir: cli.state_dir.clone(), color: cli.color, verbose: cli.verbose }
    }

    /// Reads the config with everything that is wrong with it.
    pub fn load(&self, commands: Commands) -> Loaded {
        config::load(self.config.as_deref(), commands)
    }

    /// Reads the config for a one-shot command: the first mistake goes to stderr with how many more there are, the good
    /// entries are used. All of them are what `check` is for; here they would hide what was asked.
    ///
    /// # Errors
    /// When the file as a whole cannot be used.
    pub fn load_usable(&self, out: &mut Output<'_>) -> Result<Config, Failure> {
        let loaded = self.load(Commands::Run);
        if let (false, Some(error)) = (loaded.readable, loaded.errors.first()) {
            return Err(Failure::usage("could not use the config")
                .caused_by(error)
                .hint("run `hotseat check` to see where and why"));
        }
        if let [first, rest @ ..] = loaded.errors.as_slice() {
            let more = match rest.len() as u64 {
                0 => String::new(),
                count => format!("; {} in the config, `hotseat check` shows them", plural(count, "more mistake")),
            };
            // Nobody is left to warn when stderr is closed.
            let _ = writeln!(out.stderr, "warning: {first}{more}");
        }
        Ok(loaded.config)
    }

    /// The host's name in ids: `[host] name`, else the host's own.
    pub fn host(&self, config: &Config) -> HostId {
        config.host.as_deref().map_or_else(|| HostId::new(&paths::host_name()), HostId::new)
    }

    /// Refuses to write as root in the state directory of another account, which could not open any more what root made;
    /// `command` is what is to be run instead as that account.
    ///
    /// # Errors
    /// When it is so.
    pub fn refuse_beside_owner(&self, command: &str) -> Result<(), Failure> {
        let state_dir = self.state_dir();
        let Some(owner) = lock::owner_beside_root(&state_dir) else { return Ok(()) };
        let shown = state_dir.display();
        Err(Failure::usage(format!("this state directory belongs to the account `{owner}`: {shown}")).hint(format!(
            "run it as that account (`sudo -u {owner} {command}`), or name a directory of root's own with `--state-dir`"
        )))
    }

    /// Where state lives.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(paths::state_dir)
    }
}

/// Runs the command line.
///
/// # Errors
/// See [`Failure`].
pub fn run(cli: &Cli, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    logging::set_verbose(cx.verbose);
    match &cli.command {
        None => {
            refuse_misspelt(&cli.open.paths)?;
            open::run(&cli.open, cx, out)
        }
        Some(command) => match command {
            Command::Agent(args) => agent::run(args, cx, out),
            Command::Status(args) => status::run(args, cx, out),
            Command::Probe(args) => probe::run(args, cx, out),
            Command::Logs(args) => logs::run(args, cx, out),
            Command::Attach(args) => attach::run(args, cx, out),
            Command::Backup(args) => backup::run(args, cx, out),
            Command::Incident(args) => incident::run(args, cx, out),
            Command::Note(args) => note::run(args, cx, out),
            Command::Declare(args) => declare::run(args, cx, out),
            Command::Alerts(args) => alerts::run(args, cx, out),
            Command::Ack(args) => ack::run(args, cx, out),
            Command::Silence(args) => silence::run(args, cx, out),
            Command::Maintenance(args) => maintenance::run(args, cx, out),
            Command::Oncall(args) => oncall::run(args, cx, out),
            Command::Explain(args) => explain::run(args, cx, out),
            Command::Replay(args) => replay::run(args, cx, out),
            Command::Beat(args) => beat::run(args, cx, out),
            Command::TestNotify(args) => test_notify::run(args, cx, out),
            Command::Check(args) => check::run(args, cx, out),
            Command::Init(args) => init::run(args, cx, out),
            Command::Keys(args) => keys::run(args, cx, out),
            Command::Themes(args) => themes::run(args, cx, out),
            Command::Store(args) => store::run(args, cx, out),
            Command::Doctor(args) => doctor::run(args, cx, out),
            Command::Demo(args) => demo::run(args, cx, out),
            Command::Completions(args) => completions::run(args, cx, out),
            Command::Man(args) => man::run(args, cx, out),
        },
    }
}

/// Adds the mistakes that only the screen can find: in its keys and in the choice of its theme.
pub fn with_screen_mistakes(mut loaded: Loaded) -> Loaded {
    let (_, mistakes) = Keymap::build(&loaded.config.keys);
    loaded.errors.extend(mistakes);
    loaded.errors.extend(themes::mistake(&loaded.config.screen));
    loaded.errors.sort_by_key(|it| (it.line, it.column));
    loaded
}

/// A word that is no file but almost a command is a slip; waiting for a file of that name helps nobody.
fn refuse_misspelt(operands: &[String]) -> Result<(), Failure> {
    let commands = Cli::command();
    let names: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
    let Some(word) = operands.first().filter(|it| it.len() > 2 && !it.contains(['/', '.', '*', '?', '[', '-'])) else {
        return Ok(());
    };
    match did_you_mean(word, names) {
        Some(near) if !std::path::Path::new(word).exists() => {
            Err(Failure::usage(format!("there is no command and no file `{word}`"))
                .hint(format!("did you mean `hotseat {near}`? A file that does not exist yet is named as `./{word}`")))
        }
        _ => Ok(()),
    }
}
