//! `hotseat logs`: print log records that match a query.
//!
//! The same engine and query language as the screen. Everything is printed sanitised, `--raw` as it is on
//! disk. Gaps go to stderr, so that what is piped on are records and nothing else.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock;
use crate::config::paths;
use crate::domain::format;
use crate::domain::log::{GapKind, Level, Row};
use crate::domain::query::matcher::Matcher;
use crate::domain::query::{Chip, ChipKind, Query, QueryError};
use crate::logstore::scan::Depth;
use crate::logstore::stream::{Met, Stream};
use crate::service::log::{self, LogInput, LogService, LogSpec};
use crate::service::{FactSender, ServiceSetup};

/// A record that is still open is printed when nothing has come for this long.
const SETTLE: Duration = Duration::from_millis(200);
/// While following, how long to wait before looking whether there is still somebody to print for.
const WAIT: Duration = Duration::from_secs(3600);
/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Print log records that match a query
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Query:
  timeout            records that contain it; with an upper-case letter, case matters
  \"two words\"        quoted text
  /re(gex)?/         a regex
  level>=warn        this level or above; also level=info, level<=debug
  source:api         records of this source
  since:-30m         also since:14:30, until:2026-08-19T14:45
  -healthz  -/re/    a leading - keeps records out

Examples:
  hotseat logs --level warn --since -30m
  hotseat logs /var/log/nginx/*.log --query '/ 5\\d\\d / -healthz' -n 50
  kubectl logs -f api | hotseat logs - -q 'level>=error' -C 3")]
pub struct Args {
    /// Log files, globs or directories instead of the config's; `-` is standard input
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,

    /// Print only records that pass this query (can be repeated: all must hold)
    #[arg(short, long, value_name = "QUERY", allow_hyphen_values = true)]
    pub query: Vec<String>,

    /// Print only records at this level or above
    #[arg(short, long, value_name = "LEVEL")]
    pub level: Option<String>,

    /// Print only records from this time on: `-30m`, `14:30`, `2026-08-19T14:30`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,

    /// Print only records before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,

    /// Print only the newest N matches
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,

    /// Go on with what is written
    #[arg(short, long, conflicts_with = "count")]
    pub follow: bool,

    /// Print N records before and after each match
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    pub context: usize,

    /// Print one JSON object a record
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,

    /// Print the bytes as they are on disk (not to a terminal)
    #[arg(long)]
    pub raw: bool,

    /// Print the number of matches
    #[arg(long, conflicts_with_all = ["raw", "lines", "context"])]
    pub count: bool,
}

/// Print log records that match a query.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    if args.raw && io::stdout().is_terminal() {
        return Err(Failure::usage("`--raw` does not write to a terminal")
            .caused_by("a log can hold sequences that take the terminal over")
            .hint("pipe it on, as in `hotseat logs --raw | less`"));
    }
    let query = query(args)?;
    let matcher = Matcher::new(&query, clock::now(), &clock::zone())
        .map_err(|error| Failure::usage("could not use the query").caused_by(error))?;
    let config = if args.paths.is_empty() { Some(cx.load_usable(out)?) } else { None };
    let host = cx.host(config.as_ref().unwrap_or(&crate::config::Config::default()));
    let specs = match config {
        None => log::from_operands(&args.paths),
        Some(config) if !config.logs.is_empty() => config.logs,
        Some(_) => log::host_logs(),
    };
    if specs.is_empty() {
        return Err(Failure::usage("there is no log to read")
            .caused_by("no path was given, the config names none, and none in `/var/log` can be read")
            .hint("name a file: `hotseat logs /path/to/file.log`"));
    }
    if !args.follow {
        check_that_files_exist(&specs)?;
    }
    let reads_stream = specs.iter().flat_map(|it| &it.inputs).any(is_stream);
    // Nobody listens for facts here; a closed channel takes them at once.
    let (facts, _) = FactSender::channel();
    let setup = ServiceSetup {
        host,
        user: paths::user_name(),
        state_dir: cx.state_dir(),
        facts,
        cancel: CancellationToken::new(),
    };
    let service = LogService::start_opened(&setup, specs);
    let result = print(args, &service, matcher, reads_stream, out);
    setup.cancel.cancel();
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // `hotseat logs | head` has got what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::internal("could not print the logs").caused_by(error)),
    }
}

fn query(args: &Args) -> Result<Query, Failure> {
    let mut query = Query::default();
    let parse = |what: &str, text: &str| {
        Query::parse(text).map_err(|error: QueryError| {
            let mut failure = Failure::usage(format!("could not read {what}: {}", error.message));
            if error.range.end <= text.len() && !text.is_empty() {
                let before = text[..error.range.start].chars().count();
                let marks = text[error.range.clone()].chars().count().max(1);
                failure = failure.caused_by(format!("\n  {text}\n  {}{}", " ".repeat(before), "^".repeat(marks)));
            }
            match error.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })
    };
    for text in &args.query {
        query.chips.extend(parse("the query", text)?.chips);
    }
    if let Some(level) = &args.level {
        query.chips.extend(parse("`--level`", &format!("level>={level}"))?.chips);
    }
    let mut bound = |option: &str, text: &Option<String>, make: fn(String) -> ChipKind| -> Result<(), Failure> {
        let Some(text) = text else { return Ok(()) };
        crate::domain::query::time::check(text).map_err(|message| {
            Failure::usage(format!("could not read `{option}`: {message}")).hint(crate::domain::query::time::HINT)
        })?;
        query.chips.push(Chip::keep(make(text.clone())));
        Ok(())
    };
    bound("--since", &args.since, ChipKind::Since)?;
    bound("--until", &args.until, ChipKind::Until)?;
    Ok(query)
}

fn is_stream(input: &LogInput) -> bool {
    use std::os::unix::fs::FileTypeExt;
    match input {
        LogInput::Stdin => true,
        LogInput::Path(path) => std::fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo()),
        LogInput::Pattern(_) => false,
    }
}

fn check_that_files_exist(specs: &[LogSpec]) -> Result<(), Failure> {
    for input in specs.iter().flat_map(|it| &it.inputs) {
        let LogInput::Path(path) = input else { continue };
        if let Err(error) = std::fs::File::open(path) {
            let shown = crate::domain::sanitise::text(&path.to_string_lossy());
            return Err(Failure::usage(format!("could not read `{shown}`"))
                .caused_by(error)
                .hint("with `--follow` hotseat waits for it"));
        }
    }
    Ok(())
}

fn print(args: &Args, service: &LogService, matcher: Matcher, is_stream: bool, out: &mut Output<'_>) -> io::Result<()> {
    let engine = service.engine();
    let mut stream = Stream::new(engine, matcher, args.context);
    let mut printer = Printer {
        args,
        many: engine.sources().len() > 1,
        stdout: BufWriter::with_capacity(BUFFER_BYTES, &mut *out.stdout),
        stderr: &mut *out.stderr,
    };
    let wait_to_the_end = is_stream && !args.follow && (args.count || args.lines.is_some());
    let mut seen = engine.changes();
    while wait_to_the_end && !stream.is_ended() {
        engine.wait_for_change(seen, WAIT);
        seen = engine.changes();
    }
    if args.count {
        // Only the object says how many records there are, and knowing it costs a look at every line.
        return printer.count(stream.count(if args.json { Depth::Records } else { Depth::Matches }));
    }
    if let Some(lines) = args.lines {
        stream.skip_to_newest(lines);
    }
    loop {
        let is_last = !args.follow && (!is_stream || stream.is_ended());
        let seen = engine.changes();
        stream.advance(!is_last, &mut |met| printer.row(met))?;
        printer.stdout.flush()?;
        if is_last {
            return Ok(());
        }
        // What was held back is printed when it has been quiet for a while.
        if !engine.wait_for_change(seen, SETTLE) {
            let seen = engine.changes();
            stream.advance(false, &mut |met| printer.row(met))?;
            printer.stdout.flush()?;
            if !args.follow && stream.is_ended() {
                return Ok(());
            }
            engine.wait_for_change(seen, WAIT);
        }
    }
}

struct Printer<'a> {
    args: &'a Args,
    /// Rows are prefixed with their source's name.
    many: bool,
    stdout: BufWriter<&'a mut dyn Write>,
    stderr: &'a mut dyn Write,
}

/// A record for a script.
#[derive(Serialize)]
struct JsonRecord<'a> {
    source: &'a str,
    time: Option<Timestamp>,
    level: Option<Level>,
    text: String,
    context: bool,
    cut_bytes: u64,
}

/// A gap for a script.
#[derive(Serialize)]
struct JsonGap<'a> {
    source: &'a str,
    gap: &'a GapKind,
}

impl Printer<'_> {
    fn row(&mut self, met: &Met<'_>) -> io::Result<()> {
        let name = &met.presenter.snapshots[met.placed.source].source.name;
        if self.args.raw && !met.bytes().is_empty() {
            self.stdout.write_all(met.bytes())?;
            return if met.bytes().ends_with(b"\n") { Ok(()) } else { self.stdout.write_all(b"\n") };
        }
        match met.presenter.row(&met.placed, met.context) {
            Row::Record(record) => {
                // Of a record that was printed before, only the lines that came since.
                let printed = match &met.placed.item {
                    crate::logstore::walk::Item::Record(found) if met.from_byte > 0 => {
                        let bytes = found.block.bytes_of(&found.block.spans()[found.index]);
                        memchr::memchr_iter(b'\n', &bytes[..met.from_byte.min(bytes.len())]).count()
                    }
                    _ => 0,
                };
                if self.args.json {
                    return self.json(&JsonRecord {
                        source: name,
                        time: record.position.time,
                        level: record.level,
                        text: record.lines.join("\n"),
                        context: record.context,
                        cut_bytes: record.cut_bytes,
                    });
                }
                for line in record.lines.iter().skip(printed) {
                    if self.many {
                        write!(self.stdout, "{name}: ")?;
                    }
                    self.stdout.write_all(line.as_bytes())?;
                    self.stdout.write_all(b"\n")?;
                }
                if record.cut_bytes > 0 {
                    let cut = format::bytes(record.cut_bytes);
                    writeln!(self.stdout, "~ {cut} of this record not shown; `--raw` prints them ~")?;
                }
                Ok(())
            }
            Row::Gap(gap) if self.args.json => self.json(&JsonGap { source: name, gap: &gap.kind }),
            Row::Gap(gap) => {
                self.stdout.flush()?;
                // Nobody is left to tell when stderr is closed.
                let _ = writeln!(self.stderr, "~ {name}: {} ~", gap_words(&gap.kind));
                Ok(())
            }
            Row::Break => Ok(()),
        }
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.stdout, value)?;
        self.stdout.write_all(b"\n")
    }

    fn count(&mut self, counts: crate::domain::log::Counts) -> io::Result<()> {
        if self.args.json {
            self.json(&counts)?;
        } else {
            writeln!(self.stdout, "{}", counts.matched)?;
        }
        self.stdout.flush()
    }
}

fn gap_words(kind: &GapKind) -> String {
    match kind {
        GapKind::Rotated => "rotated, the old file was read to its end".into(),
        GapKind::Truncated { unread_bytes: 0 } => "the file was emptied, nothing unread was lost".into(),
        GapKind::Truncated { unread_bytes } => {
            format!("the file was emptied, {} were gone before they were read", format::bytes(*unread_bytes))
        }
        GapKind::Deleted => "the file was deleted".into(),
        GapKind::Missing => "the file does not exist yet".into(),
        GapKind::PermissionDenied => "permission denied".into(),
        GapKind::Dropped { lines } => format!("{} fell out of the spool", format::plural(*lines, "line")),
        GapKind::Ended => "the stream ended".into(),
        GapKind::Reconnected { away_seconds, resumed: true } => {
            format!("reconnected after {away_seconds} s, nothing is missing")
        }
        GapKind::Reconnected { away_seconds, resumed: false } => {
            format!("reconnected after {away_seconds} s, what came meanwhile is missing")
        }
        GapKind::Cut { bytes } => format!("{} of a line were cut", format::bytes(*bytes)),
        GapKind::Broken { read_bytes, why } => {
            format!("cannot be unpacked behind {}: {}", format::bytes(*read_bytes), crate::domain::sanitise::text(why))
        }
        GapKind::Failed(why) => crate::domain::sanitise::text(why),
    }
}
