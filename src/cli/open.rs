//! `hotseat [PATH|-]…`: open the screen.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::connector::Connector;
use crate::agent::hub::{self, Member};
use crate::agent::local::{Local, LocalSetup};
use crate::agent::split::split;
use crate::agent::ssh::Ssh;
use crate::app;
use crate::app::effect::{Notice, NoticeSeverity};
use crate::app::model::Model;
use crate::cli::failure::Failure;
use crate::cli::hosts::{self, Place};
use crate::cli::logs::piped;
use crate::cli::output::{ColorChoice, Output};
use crate::cli::{Context, logging, themes, with_screen_mistakes};
use crate::config::{self, Config, Loaded, paths};
use crate::domain::fleet::Fleet;
use crate::domain::ids::HostId;
use crate::domain::presence::{Via, Visitor};
use crate::panes::PaneId;
use crate::registry::node::Commands;
use crate::runtime::Link;
use crate::runtime::lock;
use crate::runtime::logs_only::LogsOnly;
use crate::service::log::{self, LogSpec};
use crate::tui::capabilities::{Capabilities, ColorDepth, ColorRule, Glyphs};
use crate::tui::run::{Attached, Connecting, Exit, Options};
use crate::tui::terminal::Tty;
use crate::tui::{frame, input, run};
use tokio::sync::watch;

/// What the runtime gets to bring everything to disk; the whole exit stays below a second.
const SHUTDOWN_DEADLINE: Duration = Duration::from_millis(800);
/// Threads that serve probes, logs, backups and notes; waiting is most of what they do.
const SERVICE_THREADS: usize = 2;

/// What the screen opens on
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Log files, globs or directories to follow instead of the config's; `-` is standard input
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,

    /// Put the rotated files of each log before it: `api.log.1`, `api.log.2.gz`
    #[arg(long)]
    pub history: bool,

    /// Look and change nothing; the screen then never probes, pages or backs up by itself
    #[arg(long)]
    pub readonly: bool,

    /// Show several hosts: `local`, and others as `ssh` or a `[[remote]]` of the config knows them
    #[arg(long, value_name = "HOST[,HOST…]", value_delimiter = ',', conflicts_with = "paths")]
    pub host: Vec<String>,

    /// How the screen looks and behaves
    #[command(flatten)]
    pub look: Look,
}

/// How the screen looks and behaves.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Look {
    /// Use this theme (see `hotseat themes`)
    #[arg(long, value_name = "NAME")]
    pub theme: Option<String>,

    /// Draw lines and marks in ASCII
    #[arg(long)]
    pub ascii: bool,

    /// Let the terminal report the mouse
    #[arg(long)]
    pub mouse: bool,

    /// Draw at most this many frames a second (a key always draws at once)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=240))]
    pub max_fps: Option<u16>,

    /// Draw two frames a second, for a link that is slow or paid by the byte
    #[arg(long, conflicts_with = "max_fps")]
    pub low_bandwidth: bool,

    /// Wait this many milliseconds for the rest of a key that begins with Esc
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=5000))]
    pub esc_wait: Option<u64>,

    /// Begin on the logs: they were named.
    #[arg(skip)]
    pub logs_first: bool,
}

/// Opens the screen.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, _out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if !args.host.is_empty() {
        let loaded = with_screen_mistakes(with_logs(cx.load(Commands::Defer), &[]));
        let places = hosts::of_names(&args.host, &loaded.config.remotes)?;
        return show_hosts(cx, loaded, places, args.readonly, &args.look);
    }
    let operands = operands(&args.paths);
    let look = Look { logs_first: !operands.is_empty(), ..args.look.clone() };
    let named = cx.config.clone();
    let history = args.history;
    let loaded = config::load(named.as_deref(), Commands::Defer);
    // Beside a config the logs that are named are this screen's alone: whoever attaches to it gets the config's.
    let beside = if operands.is_empty() { None } else { Some(log::from_operands(&operands)) };
    let beside = beside.filter(|_| loaded.config.path.is_some());
    let beside = beside.map(|it| if history { log::with_history(it) } else { it });
    let operands = if beside.is_some() { Vec::new() } else { operands };
    let history = history && beside.is_none();
    let fit = move |loaded: Loaded| {
        let mut loaded = with_logs(loaded, &operands);
        if history {
            loaded.config.logs = log::with_history(loaded.config.logs);
        }
        with_screen_mistakes(loaded)
    };
    let loaded = fit(loaded);
    let read = move |commands| fit(config::load(named.as_deref(), commands));
    let greeting = loaded.config.path.is_none().then(|| Notice {
        severity: NoticeSeverity::Info,
        text: "no config yet: run `hotseat init` to watch services and backups as well".into(),
    });
    let fresh = read.clone();
    let setup = LocalSetup {
        host: cx.host(&loaded.config),
        user: paths::user_name(),
        readonly: args.readonly,
        state_dir: cx.state_dir(),
        loaded,
        fresh: Arc::new(move || fresh(Commands::Defer)),
        reader: Some(Arc::new(move || read(Commands::Run))),
        started: None,
    };
    show(setup, beside, &look, cx.color, greeting)
}

/// Opens the screen on several hosts; this one takes part when it is among them.
///
/// # Errors
/// As [`show`].
pub fn show_hosts(
    cx: &Context,
    loaded: Loaded,
    places: Vec<Place>,
    readonly: bool,
    look: &Look,
) -> Result<ExitCode, Failure> {
    let named = cx.config.clone();
    let read = move |commands| with_screen_mistakes(with_logs(config::load(named.as_deref(), commands), &[]));
    let fresh = read.clone();
    let setup = LocalSetup {
        host: cx.host(&loaded.config),
        user: paths::user_name(),
        readonly,
        state_dir: cx.state_dir(),
        loaded,
        fresh: Arc::new(move || fresh(Commands::Defer)),
        reader: Some(Arc::new(move || read(Commands::Run))),
        started: None,
    };
    show_on(setup, On::Hosts(places), look, cx.color, None)
}

/// What a screen is opened on.
enum On {
    /// This host; logs in it are read by this process in place of those.
    Here(Option<Vec<LogSpec>>),
    /// Several hosts.
    Hosts(Vec<Place>),
}

/// Opens the screen. What it is attached to is found or started beside the first frame; logs in `beside` are read by
/// this process in place of those.
///
/// # Errors
/// When there is no terminal that a screen could be drawn on.
pub fn show(
    setup: LocalSetup,
    beside: Option<Vec<LogSpec>>,
    look: &Look,
    color: ColorChoice,
    greeting: Option<Notice>,
) -> Result<ExitCode, Failure> {
    show_on(setup, On::Here(beside), look, color, greeting)
}

fn show_on(
    setup: LocalSetup,
    on: On,
    look: &Look,
    color: ColorChoice,
    greeting: Option<Notice>,
) -> Result<ExitCode, Failure> {
    let refuse = |why: &str| {
        Failure::usage("could not open the screen")
            .caused_by(why)
            .hint("without a screen, `hotseat status` shows what is red and `hotseat logs` prints records")
    };
    if !io::stdout().is_terminal() {
        return Err(refuse("standard output is not a terminal"));
    }
    let screen = &setup.loaded.config.screen;
    let rule = match color {
        ColorChoice::Auto => ColorRule::Environment,
        ColorChoice::Always => ColorRule::Always,
        ColorChoice::Never => ColorRule::Never,
    };
    let ascii = look.ascii || screen.ascii == Some(true);
    let variable = |name: &str| std::env::var(name).ok();
    let Some(capabilities) = Capabilities::detect(variable, rule, ascii) else {
        return Err(refuse("`TERM` says that this terminal cannot draw"));
    };
    let tty = Tty::open().map_err(|error| refuse(&format!("could not open `/dev/tty`: {error}")))?;
    let beside_owner = lock::owner_beside_root(&setup.state_dir).is_some();
    // What its agent is asked to do it does itself; without one everything would be made by root.
    if beside_owner && lock::is_free(&setup.state_dir) {
        let cx = Context { state_dir: Some(setup.state_dir.clone()), ..Context::default() };
        cx.refuse_beside_owner("hotseat")?;
    }
    // Without a log file everything works but finding out why something did not.
    if !beside_owner {
        let _ = logging::start(&setup.state_dir);
    }
    let options = Options {
        capabilities,
        mouse: look.mouse || screen.mouse,
        frame_gap: frame_gap(look, &capabilities),
        esc_wait: look.esc_wait.map_or(input::ESC_WAIT, Duration::from_millis),
        state_dir: setup.state_dir.clone(),
        greeting,
    };
    // Refused before anything is started.
    if let Some(name) = &look.theme {
        themes::find(&themes::all().0, name)?;
    }
    let config = setup.loaded.config.clone();
    let is_of_several = matches!(on, On::Hosts(_));
    let connecting = Connecting::start(move || connect(setup, on))
        .map_err(|error| Failure::internal("could not start the services").caused_by(error))?;
    let mut model = model(&config, look, &options, tty.size());
    if is_of_several {
        model.fleet = Fleet::of_several();
        model.focus = PaneId::Services;
    }
    let (exit, kept) = run::run(&tty, options, &mut model, connecting)
        .map_err(|error| Failure::internal("could not use the terminal").caused_by(error))?;
    if let Some((services, kept)) = kept {
        // What it waits for has deadlines of its own; this one is for the case that they fail.
        let _ = services.block_on(async { tokio::time::timeout(SHUTDOWN_DEADLINE, kept.ended()).await });
        services.shutdown_background();
    }
    if exit == Exit::Panicked {
        return Err(Failure::internal("the screen failed; this is a bug in hotseat")
            .hint("unsaved text was kept as a draft; the log file in the state directory says more"));
    }
    Ok(ExitCode::from(exit.code()))
}

/// What lives as long as the screen.
struct Kept {
    connectors: Vec<Connector>,
    logs: Option<LogsOnly>,
}

impl Kept {
    async fn ended(self) {
        let logs = async {
            if let Some(logs) = self.logs {
                logs.end().await;
            }
        };
        let connectors = async {
            // All of them end at the same time; the last one is waited for.
            for connector in self.connectors {
                connector.ended().await;
            }
        };
        tokio::join!(connectors, logs);
    }
}

/// Starts the services on threads of their own and links the screen.
fn connect(setup: LocalSetup, on: On) -> io::Result<(Attached, (tokio::runtime::Runtime, Kept))> {
    let services = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVICE_THREADS)
        .thread_name("service")
        .enable_all()
        .build()?;
    let (link, config_rx, kept) = {
        let _inside = services.enter();
        match on {
            On::Here(beside) => connect_here(setup, beside),
            On::Hosts(places) => connect_hosts(setup, places),
        }
    };
    Ok((Attached { link, config_rx }, (services, kept)))
}

type Connected = (Link, Option<watch::Receiver<Arc<Config>>>, Kept);

fn connect_here(setup: LocalSetup, beside: Option<Vec<LogSpec>>) -> Connected {
    let logs =
        beside.map(|specs| LogsOnly::start(setup.host.clone(), setup.user.clone(), setup.state_dir.clone(), specs));
    let host = setup.host.clone();
    let (local, config_rx) = Local::new(setup);
    let (link, connector) = Connector::start(host.clone(), local);
    let connectors = vec![connector];
    match logs {
        // What this process reads it writes as well.
        Some((logs, named)) => (split(link, named), Some(config_rx), Kept { connectors, logs: Some(logs) }),
        None => {
            let link = hub::alone::start(Member { called: host, link });
            (link, Some(config_rx), Kept { connectors, logs: None })
        }
    }
}

fn connect_hosts(setup: LocalSetup, places: Vec<Place>) -> Connected {
    let seat = Some(paths::seat());
    let visitor = Visitor { user: setup.user.clone(), readonly: setup.readonly, via: Via::Local, seat };
    let state_dir = setup.state_dir.clone();
    let mut setup = Some(setup);
    let mut config_rx = None;
    let (mut members, mut connectors) = (Vec::new(), Vec::new());
    for place in places {
        let (called, (link, connector)) = match place {
            // It is named once.
            Place::Here => {
                let Some(setup) = setup.take() else { continue };
                let host = setup.host.clone();
                let (local, rx) = Local::new(setup);
                config_rx = Some(rx);
                (host.clone(), Connector::start(host, local))
            }
            Place::Far(remote) => {
                let called = HostId::new(&remote.name);
                (called.clone(), Connector::start(called, Ssh::new(remote, visitor.clone(), state_dir.clone())))
            }
        };
        members.push(Member { called, link });
        connectors.push(connector);
    }
    (hub::start(members), config_rx, Kept { connectors, logs: None })
}

fn model(config: &Config, look: &Look, options: &Options, size: (u16, u16)) -> Model {
    let (mut themes, problems) = themes::all();
    // Without colours only a theme that needs none can show what is selected.
    let colourless = options.capabilities.depth == ColorDepth::None;
    themes.retain(|it| !colourless || it.name == "mono");
    let ascii = options.capabilities.glyphs != Glyphs::Unicode;
    let themes = themes.into_iter().map(|it| it.with_ascii(ascii)).collect();
    let kept = || fs::read_to_string(options.state_dir.join(run::THEME_FILE)).ok().map(|it| it.trim().to_string());
    let mut model = Model::new(app::model::Setup {
        now: crate::clock::now(),
        zone: crate::clock::zone(),
        size,
        themes,
        theme: look.theme.clone().or_else(|| config.screen.theme.clone()).or_else(kept),
        focus: first_focus(look.logs_first, !config.probes.is_empty()),
        keys: config.keys.clone(),
        mouse: options.mouse,
        problems,
    });
    model.config_theme.clone_from(&config.screen.theme);
    model.panes.logs.set_queries(&config.queries);
    model
}

/// The pane that gets the first keys: logs that were named, or that are all there is, are what the screen was
/// opened for.
fn first_focus(logs_first: bool, has_probes: bool) -> PaneId {
    if logs_first || !has_probes { PaneId::Logs } else { PaneId::Services }
}

/// What is named on the command line; a pipe or a file on standard input names itself.
fn operands(paths: &[String]) -> Vec<String> {
    piped(paths, &[]).map_or_else(|| paths.to_vec(), |it| vec![it])
}

/// Chooses the logs: those named, else the config's, else the host's own.
fn with_logs(mut loaded: Loaded, operands: &[String]) -> Loaded {
    if !operands.is_empty() {
        loaded.config.logs = log::from_operands(operands);
    } else if loaded.config.path.is_none() {
        loaded.config.logs = log::host_logs();
    }
    loaded
}

fn frame_gap(look: &Look, capabilities: &Capabilities) -> Duration {
    match look.max_fps {
        _ if look.low_bandwidth => frame::SLOW_GAP,
        Some(fps) => Duration::from_secs(1) / u32::from(fps),
        None if capabilities.remote => frame::REMOTE_GAP,
        None => frame::LOCAL_GAP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_are_named_get_the_first_keys_beside_probes_as_well() {
        assert_eq!(first_focus(true, true), PaneId::Logs);
        assert_eq!(first_focus(false, false), PaneId::Logs);
        assert_eq!(first_focus(false, true), PaneId::Services);
    }
}
