//! `hotseat logs`: print, count or chart log records that match a query.
//!
//! The same engine and query language as the screen. Everything is printed sanitised, `--raw` as it is on
//! disk. Gaps go to stderr, so that what is piped on are records and nothing else.

mod ask;
mod export;
mod histogram;
mod job;
mod newest;
mod print;
mod sources;
mod stop;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::logs::job::{Job, Written};
use crate::cli::logs::print::Form;
pub use crate::cli::logs::sources::piped;
use crate::cli::logs::stop::Stop;
use crate::cli::output::Output;
use crate::clock;
use crate::config::{Config, paths};
use crate::domain::log::{Look, MAX_BUCKETS};
use crate::domain::query::matcher::Matcher;
use crate::domain::sanitise::Tabs;
use crate::logstore::format::Format;
use crate::service::log::{LogInput, LogService};
use crate::service::{FactSender, ServiceSetup};

/// Exit code when something was lost on the way or cannot be read.
const INCOMPLETE: u8 = 4;
/// Work beside printing: signals, and sources that are read over the network.
const SERVICE_THREADS: usize = 2;

/// Print log records that match a query
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Query:
  timeout            records that contain it; with an upper-case letter, case matters
  two words          one text, its blanks included; \"two\" \"words\" asks for both
  /re(gex)?/         a regex; so is text with the signs of one (ERROR.*timeout), unless quoted
  level>=warn        this level or above; also level=info, level<=debug
  status>=500        a field of JSON, logfmt, access logs and others; also = != > < <=
  user=~\"^sid\"      a field that matches a regex; !~ one that does not
  latency>250ms      numbers compare as numbers, also with units: ms s m h, kB MB KiB
  source:api         records of this source
  since:-30m         also since:14:30, until:2026-08-19T14:45
  -healthz  -/re/    a leading - keeps records out
  @slow              the `[[query]]` of this name in the config; -@slow without what it finds

Examples:
  hotseat logs --level warn --since -30m
  hotseat logs /var/log/nginx/*.log --query '/ 5\\d\\d / -healthz' -n 50
  hotseat logs api --query timeout --histogram --since -6h
  kubectl logs -f api | hotseat logs - -q 'level>=error' -C 3

Exit codes: 0 found, 1 nothing passes the query, 2 usage, config, or no source can be read, 3 internal,
4 something was lost or cannot be read; standard error says what.")]
pub struct Args {
    /// Log files, globs, directories, or names of the config's logs; `-` is standard input, read without being named
    /// when it is a pipe or a file
    #[arg(value_name = "PATH|NAME")]
    pub paths: Vec<String>,

    /// Print only records that pass this query (can be repeated: all must hold)
    #[arg(short, long, value_name = "QUERY", allow_hyphen_values = true, visible_alias = "grep", short_alias = 'e')]
    pub query: Vec<String>,

    /// Print only records at this level or above
    #[arg(short, long, value_name = "LEVEL")]
    pub level: Option<String>,

    /// Print only records from this time on: `-30m`, `2h ago`, `today`, `14:30`, `2026-08-19T14:30`, `@1700000000`
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,

    /// Print only records before this time
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,

    /// Read this log of the config (can be repeated)
    #[arg(long, value_name = "NAME")]
    pub source: Vec<String>,

    /// Read the lines in this format (`hotseat check --kinds` lists them), instead of telling it by the lines
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Print only the newest N matches
    #[arg(short = 'n', long, value_name = "N", visible_alias = "tail")]
    pub lines: Option<usize>,

    /// Go on with what is written
    #[arg(short, long, conflicts_with_all = ["count", "histogram"])]
    pub follow: bool,

    /// Read the rotated files of each log as well: `api.log.1`, `api.log.2.gz`
    #[arg(long)]
    pub history: bool,

    /// Print N records before and after each match
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    pub context: usize,

    /// Print these instead of the record, with tabs between: `time`, `level`, `source`, fields
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', conflicts_with = "raw")]
    pub columns: Vec<String>,

    /// Print JSON lines as `message key=value …` (what a terminal gets without being asked)
    #[arg(long, conflicts_with_all = ["raw", "original"])]
    pub readable: bool,

    /// Print JSON lines as they are (what a pipe and a file get without being asked)
    #[arg(long, conflicts_with = "raw")]
    pub original: bool,

    /// Print one JSON object a record
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,

    /// Print the bytes as they are on disk (not to a terminal); of UTF-16, of archives and of lines that end with CR, their text
    #[arg(long)]
    pub raw: bool,

    /// Print the number of matches
    #[arg(short, long, conflicts_with_all = ["raw", "lines", "context", "columns"])]
    pub count: bool,

    /// Print how many matches there are by time, errors and warnings told apart
    #[arg(long, conflicts_with_all = ["raw", "lines", "context", "columns", "count"])]
    pub histogram: bool,

    /// At most so many rows of the histogram
    #[arg(long, value_name = "N", requires = "histogram", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_BUCKETS)))]
    pub buckets: Option<u16>,

    /// Write to a new file that only you can read, instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Overwrite the file of `--output`
    #[arg(long, requires = "output")]
    pub force: bool,
}

impl Args {
    fn form(&self) -> Form {
        match (self.raw, self.json) {
            (true, _) => Form::Raw,
            (_, true) => Form::Json,
            _ => Form::Text,
        }
    }

    /// Programs that read on get the objects, unless they ask for something else.
    fn look(&self) -> Look {
        match (self.readable, self.original || self.json) {
            (true, _) => Look::Readable,
            (false, true) => Look::Original,
            (false, false) if self.for_person() => Look::Readable,
            (false, false) => Look::Original,
        }
    }

    /// A terminal has its own stops, and a prefix before the line would move it off them.
    fn tabs(&self) -> Tabs {
        if self.for_person() && !self.json { Tabs::Blanks } else { Tabs::Kept }
    }

    /// True when everything that comes is looked at once, as it comes: what brings it can wait. What is wanted of the
    /// newest records has to be kept instead.
    fn takes_all(&self) -> bool {
        self.lines.is_none()
    }

    /// True when a person looks at what is printed.
    fn for_person(&self) -> bool {
        self.output.is_none() && io::stdout().is_terminal()
    }
}

/// Print log records that match a query.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if args.raw && args.for_person() {
        return Err(Failure::usage("`--raw` does not write to a terminal")
            .caused_by("a log can hold sequences that take the terminal over")
            .hint("pipe it on, as in `hotseat logs --raw | less`"));
    }
    let piped = piped(&args.paths, &args.source);
    let paths = piped.as_ref().map_or(args.paths.as_slice(), std::slice::from_ref);
    let needs_config = sources::needs_config(paths, &args.source)
        || ask::names_saved_query(args)
        || args.format.as_ref().is_some_and(|it| Format::named(it).is_none());
    let config = if needs_config { cx.load_usable(out)? } else { Config::default() };
    let query = ask::query(args, &config.queries)?;
    let matcher = Matcher::new(&query, clock::now(), &clock::zone())
        .map_err(|error| Failure::usage("could not use the query").caused_by(error))?;
    let mut specs = sources::choose(paths, &args.source, &config.logs, args.follow)?;
    if let Some(name) = &args.format {
        sources::force_format(&mut specs, name, &config.formats)?;
    }
    if args.history {
        specs = crate::service::log::with_history(specs);
    }
    let is_missed = !args.follow && sources::is_missed(&specs);
    for nothing in sources::without_files(&specs) {
        let waits = if args.follow { " yet, waiting for one" } else { "" };
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(out.stderr, "~ {nothing}{waits} ~");
    }
    for double in sources::doubles(&specs) {
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(out.stderr, "~ {double} ~");
    }
    let inputs = || specs.iter().flat_map(|it| &it.inputs);
    let (is_stream, comes_once) = (inputs().any(is_stream), inputs().any(comes_once));
    let only_stdin = inputs().all(|it| matches!(it, LogInput::Stdin));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVICE_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("could not start").caused_by(error))?;
    let _entered = runtime.enter();
    // Nobody listens for facts here; a closed channel takes them at once.
    let (facts, _) = FactSender::channel();
    let setup = ServiceSetup {
        host: cx.host(&config),
        user: paths::user_name(),
        state_dir: cx.state_dir(),
        facts,
        cancel: CancellationToken::new(),
    };
    let stop = Stop::default();
    // Of a stream the records that pass may be anywhere: they are looked for as it comes.
    let keeps_newest = args.lines.is_some_and(|it| (1..=newest::MAX_RECORDS).contains(&it))
        && args.context == 0
        && !args.follow
        && only_stdin
        && !query.is_empty();
    let service = match (args.takes_all() || keeps_newest, args.follow) {
        (true, follow) => LogService::start_taken(&setup, specs, follow),
        (false, true) => LogService::start_opened(&setup, specs),
        (false, false) => LogService::start_opened_once(&setup, specs),
    };
    stop.on_signals(service.engine());
    if args.output.is_none() {
        stop.when_unread(service.engine());
    }
    let mut file = match &args.output {
        Some(path) => Some(export::create(path, args.force, service.engine())?),
        None => None,
    };
    let (service, query) = (&service, &query);
    let job = Job { args, service, query, is_stream, comes_once, only_stdin, keeps_newest, stop: &stop };
    let result = job.write(matcher, file.as_mut(), out);
    if piped.is_some() && service.engine().sources().iter().all(|it| it.size_bytes() == 0) {
        // What runs in the background often gets an empty pipe that it does not know of.
        let _ = writeln!(out.stderr, "~ standard input is empty; with `</dev/null` the config's logs are read ~");
    }
    setup.cancel.cancel();
    if is_stream {
        service.wait_until_stopped();
    }
    // What still waits for the network is not waited for.
    runtime.shutdown_background();
    match result {
        _ if stop.exit_code().is_some() => Ok(stop.exit_code().unwrap_or(ExitCode::SUCCESS)),
        // Nothing is an answer too, but scripts want to tell it apart, as with grep.
        Ok(written) if written.is_unreadable => Ok(ExitCode::from(2)),
        Ok(written) if written.is_incomplete || is_missed => Ok(ExitCode::from(INCOMPLETE)),
        Ok(Written { records: 0, .. }) if !query.is_empty() => Ok(ExitCode::from(1)),
        Ok(_) => Ok(ExitCode::SUCCESS),
        // `hotseat logs | head` has got what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::internal("could not print the logs").caused_by(error)),
    }
}

fn is_stream(input: &LogInput) -> bool {
    use std::os::unix::fs::FileTypeExt;
    match input {
        LogInput::Path(path) => std::fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo()),
        LogInput::Pattern(_) => false,
        _ => true,
    }
}

/// What a store holds stays there; what a stream brings may be gone before it is counted.
fn comes_once(input: &LogInput) -> bool {
    is_stream(input) && !matches!(input, LogInput::Store(_))
}
