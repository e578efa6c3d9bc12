//! `hotseat logs`: print, count or chart log records that match a query.
//!
//! The same engine and query language as the screen. Everything is printed sanitised, `--raw` as it is on
//! disk. Gaps go to stderr, so that what is piped on are records and nothing else.

mod ask;
mod export;
mod histogram;
mod print;
mod sources;
mod stop;

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::logs::export::Counted;
use crate::cli::logs::print::{Columns, Form, Printer};
use crate::cli::logs::stop::Stop;
use crate::cli::output::Output;
use crate::clock;
use crate::config::{Config, paths};
use crate::domain::format;
use crate::domain::log::{
    Anchor, Counts, GapKind, Histogram, HistogramRequest, Look, MAX_BUCKETS, ViewId, WindowRequest, WindowSource,
};
use crate::domain::query::matcher::Matcher;
use crate::domain::query::{Chip, ChipKind, Query, advice};
use crate::domain::sanitise;
use crate::logstore::format::Format;
use crate::logstore::scan::Depth;
use crate::logstore::source::Source;
use crate::logstore::stream::{Hold, Met, Stream, Take};
use crate::logstore::walk::stretches::Run;
use crate::service::log::{LogInput, LogService};
use crate::service::{FactSender, ServiceSetup};
use crate::tui::capabilities::is_utf8;

/// A record that is still open is printed when nothing has come for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// A last line without an end is shown when the rest of it has not come for this long more.
const UNFINISHED: Duration = Duration::from_secs(1);
/// Waiting for more ends by itself after this; nothing hangs on it, growth and signals wake it before.
const WAIT: Duration = Duration::from_secs(3600);
/// Rows of a histogram without `--buckets`: they fit on a screen of 24 rows.
const BUCKETS: u16 = 20;
/// Columns of a histogram that goes to no terminal.
const WIDTH: u16 = 80;
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
    /// Log files, globs, directories, or names of the config's logs; `-` is standard input
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

    /// True when everything that comes is looked at once, as it comes: what brings it can wait. What is wanted of the
    /// newest records, or of all of them at once, has to be kept instead.
    fn takes_all(&self) -> bool {
        !(self.histogram || self.lines.is_some() || (self.count && self.json))
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
    let needs_config = sources::needs_config(&args.paths, &args.source)
        || ask::names_saved_query(args)
        || args.format.as_ref().is_some_and(|it| Format::named(it).is_none());
    let config = if needs_config { cx.load_usable(out)? } else { Config::default() };
    let query = ask::query(args, &config.queries)?;
    let matcher = Matcher::new(&query, clock::now(), &clock::zone())
        .map_err(|error| Failure::usage("could not use the query").caused_by(error))?;
    let mut specs = sources::choose(&args.paths, &args.source, &config.logs, args.follow)?;
    if let Some(name) = &args.format {
        sources::force_format(&mut specs, name, &config.formats)?;
    }
    if args.history {
        specs = crate::service::log::with_history(specs);
    }
    for nothing in sources::without_files(&specs) {
        let waits = if args.follow { " yet, waiting for one" } else { "" };
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(out.stderr, "~ {nothing}{waits} ~");
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
    let service = match (args.takes_all(), args.follow) {
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
    let job = Job { args, service: &service, query: &query, is_stream, comes_once, only_stdin, stop: &stop };
    let result = job.write(matcher, file.as_mut(), out);
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
        Ok(Written { is_incomplete: true, .. }) => Ok(ExitCode::from(INCOMPLETE)),
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

/// What was printed.
#[derive(Debug, Clone, Copy)]
struct Written {
    /// Records that passed.
    records: u64,
    /// Not one source could be read; why was said.
    is_unreadable: bool,
    /// Something was lost or could not be read; what was said.
    is_incomplete: bool,
}

/// Prints until something ends it.
struct Printing<'p, 'a> {
    stop: &'p Stop,
    printer: &'p mut Printer<'a>,
}

impl Printing<'_, '_> {
    fn go_on(&self) -> io::Result<()> {
        if self.stop.is_set() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

impl Take for Printing<'_, '_> {
    fn met(&mut self, met: &Met<'_>) -> io::Result<()> {
        self.go_on()?;
        self.printer.row(met)
    }

    fn takes_runs(&self) -> bool {
        self.printer.takes_runs()
    }

    fn run(&mut self, run: &Run) -> io::Result<()> {
        self.go_on()?;
        self.printer.run(run)
    }
}

/// What is to be printed, and of what.
struct Job<'a> {
    args: &'a Args,
    service: &'a LogService,
    query: &'a Query,
    is_stream: bool,
    comes_once: bool,
    /// Nothing but standard input is read.
    only_stdin: bool,
    stop: &'a Stop,
}

impl Job<'_> {
    /// Prints, counts or charts.
    fn write(&self, matcher: Matcher, file: Option<&mut File>, out: &mut Output<'_>) -> io::Result<Written> {
        let (Some(file), Some(path)) = (file, &self.args.output) else {
            return self.write_to(matcher, &mut *out.stdout, &mut *out.stderr);
        };
        let mut counted = Counted { inner: file, bytes: 0 };
        let written = self.write_to(matcher, &mut counted, &mut *out.stderr)?;
        let (bytes, shown) = (format::bytes(counted.bytes), sanitise::text(&path.to_string_lossy()));
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(out.stderr, "{} in `{shown}` ({bytes})", format::plural(written.records, "record"));
        Ok(written)
    }

    fn write_to(&self, matcher: Matcher, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<Written> {
        let args = self.args;
        let columns = Columns::new(&args.columns, args.for_person());
        let mut stream =
            Stream::new(self.service.engine(), matcher, args.context).with_look(args.look(), columns.fields());
        let is_stuck = !self.wait_until_unpacked();
        if is_stuck {
            stream.let_go();
            if !args.count && self.service.engine().sources().len() > 1 {
                // Nobody is left to tell when stderr is closed.
                let _ = writeln!(
                    stderr,
                    "~ there is no room to unpack everything before it is printed: not in one order of time ~"
                );
            }
        }
        // A stream is counted as it comes: there may be more of it than can be kept.
        let counts_as_it_comes = args.count && !args.json && (self.comes_once || is_stuck);
        if (args.count || args.histogram || args.lines.is_some()) && !counts_as_it_comes {
            self.wait_to_the_end(&stream);
        }
        let many = self.service.engine().sources().len() > 1;
        if args.histogram {
            let (matched, complete) = self.chart(stdout)?;
            let mut printer = Printer::new(args.form(), many, columns, (stdout, stderr));
            match complete {
                true => printer.ends(&stream.ends()),
                false => self.say_incomplete(&mut stream, &mut printer)?,
            }
            self.say_dropped(&mut printer);
            return Ok(self.written(matched, &printer));
        }
        let mut printer = Printer::new(args.form(), many, columns, (stdout, stderr));
        if counts_as_it_comes {
            printer.silent = true;
            self.print(&mut stream, &mut printer)?;
            printer.count(Counts { matched: printer.printed, complete: true, ..Counts::default() })?;
        } else if args.count {
            // Only the object says how many records there are, and knowing it costs a look at every line.
            let counts = stream.count(if args.json { Depth::Records } else { Depth::Matches });
            match counts.complete {
                true => printer.ends(&stream.ends()),
                false => self.say_incomplete(&mut stream, &mut printer)?,
            }
            printer.count(counts)?;
            self.say_dropped(&mut printer);
        } else {
            if let Some(lines) = args.lines {
                stream.skip_to_newest(lines);
            }
            if self.follows() {
                // Nothing else would ever say why nothing comes.
                self.say_advice(&mut printer, |it| matches!(it.kind, ChipKind::Source(_)));
            }
            self.print(&mut stream, &mut printer)?;
            if args.lines.is_some_and(|it| printer.printed < it as u64) {
                self.say_dropped(&mut printer);
            }
        }
        self.say_unsearched(&mut printer);
        if args.count || args.lines.is_some() {
            self.say_binary(&mut printer);
        }
        if !self.follows() {
            self.say_advice(&mut printer, |_| true);
        }
        Ok(self.written(printer.printed, &printer))
    }

    /// Says what a query that nothing passed was taken for.
    fn say_advice(&self, printer: &mut Printer<'_>, is_meant: impl Fn(&Chip) -> bool) {
        if printer.printed > 0 {
            return;
        }
        let chips = self.query.chips.iter().filter(|it| is_meant(it)).cloned().collect();
        let sources = self.service.engine().sources();
        let names: Vec<&str> = sources.iter().map(|it| it.name.as_str()).collect();
        for line in advice::of(&Query { chips }, &names) {
            printer.say(&line);
        }
    }

    /// Says of which sources the bytes are no text, where their rows do not.
    fn say_binary(&self, printer: &mut Printer<'_>) {
        for source in self.service.engine().sources() {
            if source.newest().is_some_and(|it| it.is_binary()) {
                printer.say(&format!("{}: binary data, read as far as it is text", source.name));
            }
        }
    }

    /// Says what fell out of spools before it was looked at.
    fn say_dropped(&self, printer: &mut Printer<'_>) {
        for source in self.service.engine().sources() {
            let gaps = source.parts().into_iter().filter_map(|it| Some(it.gap?.kind));
            for kind in gaps.filter(|it| matches!(it, GapKind::Dropped { .. })) {
                printer.lost(&source.name, &kind);
            }
        }
    }

    /// Says that a query did not look at all of a very long line.
    fn say_unsearched(&self, printer: &mut Printer<'_>) {
        if self.query.is_empty() {
            return;
        }
        for source in self.service.engine().sources() {
            let bytes: u64 = source.parts().iter().map(|it| it.segment.unsearched_bytes()).sum();
            if bytes > 0 {
                printer.unsearched(&source.name, bytes);
            }
        }
    }

    fn written(&self, records: u64, printer: &Printer<'_>) -> Written {
        let sources = self.service.engine().sources();
        let is_unreadable = |it: &Arc<Source>| it.size_bytes() == 0 && printer.failed.contains(&it.name);
        Written {
            records,
            is_unreadable: records == 0 && sources.iter().all(is_unreadable),
            is_incomplete: printer.is_incomplete,
        }
    }

    /// What archives hold is printed in its place among the rest, when all of it is there. Returns false when there is
    /// no room for that: the rest comes when what is there was taken.
    fn wait_until_unpacked(&self) -> bool {
        let engine = self.service.engine();
        let mut seen = engine.changes();
        while !engine.is_settled() && !self.stop.is_set() {
            if engine.is_stuck() {
                return false;
            }
            engine.wait_for_change(seen, WAIT);
            seen = engine.changes();
        }
        true
    }

    /// What is counted from the end has to have one.
    fn wait_to_the_end(&self, stream: &Stream<'_>) {
        let engine = self.service.engine();
        let mut seen = engine.changes();
        while self.is_stream && !self.args.follow && !stream.is_ended() && !self.stop.is_set() {
            engine.wait_for_change(seen, WAIT);
            seen = engine.changes();
        }
    }

    /// True when more may come for ever. Standard input has an end, as in `tail -f`.
    fn follows(&self) -> bool {
        self.args.follow && !self.only_stdin
    }

    fn print(&self, stream: &mut Stream<'_>, printer: &mut Printer<'_>) -> io::Result<()> {
        let engine = self.service.engine();
        let follow = self.follows();
        loop {
            let seen = engine.changes();
            let is_last = !follow && (!self.is_stream || stream.is_ended()) && engine.is_settled();
            self.advance(stream, printer, if is_last { Hold::Nothing } else { Hold::Record(SETTLE) })?;
            if is_last || follow {
                printer.ends(&stream.ends());
            }
            if is_last || self.stop.is_set() {
                return Ok(());
            }
            // What was held back is printed when it has been quiet for a while.
            if !engine.wait_for_change(seen, SETTLE) {
                let seen = engine.changes();
                self.advance(stream, printer, Hold::Line)?;
                if self.stop.is_set() {
                    return Ok(());
                }
                if self.args.follow && !engine.wait_for_change(seen, UNFINISHED) {
                    let mut take = |met: &Met<'_>| printer.row(met);
                    stream.show_unfinished(&mut take)?;
                    printer.flush()?;
                }
                // An end that came meanwhile is told by the next turn, with what stands behind it.
                if follow || !stream.is_ended() || !engine.is_settled() {
                    engine.wait_for_change(seen, WAIT);
                }
            }
        }
    }

    /// Says that not everything was counted. Reading the newest record shows why, where a store is away.
    fn say_incomplete(&self, stream: &mut Stream<'_>, printer: &mut Printer<'_>) -> io::Result<()> {
        printer.silent = true;
        stream.skip_to_newest(1);
        self.print(stream, printer)?;
        printer.incomplete();
        Ok(())
    }

    fn advance(&self, stream: &mut Stream<'_>, printer: &mut Printer<'_>, hold: Hold) -> io::Result<()> {
        let result = stream.advance(hold, &mut Printing { stop: self.stop, printer });
        match result {
            Err(error) if !self.stop.is_set() => Err(error),
            // Whole records were printed up to here.
            _ => printer.flush(),
        }
    }

    /// Draws the histogram; returns how many records there are in it, and whether those are all.
    fn chart(&self, stdout: &mut dyn Write) -> io::Result<(u64, bool)> {
        let width = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).map_or(0, |it| it.ws_col);
        let width = if self.args.for_person() && width > 0 { width } else { WIDTH };
        let Some(histogram) = self.histogram()? else { return Ok((0, true)) };
        if self.args.json {
            histogram::write_json(stdout, &histogram)?;
        } else {
            let glyphs = histogram::Glyphs::new(is_utf8(|name| std::env::var(name).ok()));
            histogram::write_text(stdout, &histogram, &clock::zone(), glyphs, usize::from(width))?;
        }
        stdout.flush()?;
        Ok((histogram.buckets.iter().map(crate::domain::log::Bucket::total).sum(), histogram.complete))
    }

    /// The complete histogram; `None` when there is nothing that has a time.
    fn histogram(&self) -> io::Result<Option<Histogram>> {
        let (from, until) = Matcher::new(self.query, clock::now(), &clock::zone()).unwrap_or_default().time_range();
        let buckets = self.args.buckets.unwrap_or(BUCKETS);
        let request = WindowRequest {
            query: self.query.to_string(),
            histogram: Some(HistogramRequest { from, until, buckets }),
            ..WindowRequest::new(ViewId(1), 1, Anchor::Tail, (1, 0))
        };
        let (windows_tx, windows_rx) = sync_channel(1);
        self.service.engine().request(request, Box::new(move |window| windows_tx.send(window).is_ok()));
        let mut last = None;
        // The engine lets go of its end when the answer is complete.
        while let Ok(window) = windows_rx.recv() {
            if let Some(histogram) = window.histogram {
                let complete = histogram.complete;
                last = Some(histogram);
                if complete {
                    break;
                }
            }
            if self.stop.is_set() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(last)
    }
}
