//! One job of `hotseat logs`: what is printed, counted or charted, until something ends it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::cli::logs::Args;
use crate::cli::logs::export::Counted;
use crate::cli::logs::histogram;
use crate::cli::logs::newest::Newest;
use crate::cli::logs::print::{Columns, Printer, Tested};
use crate::cli::logs::stop::Stop;
use crate::cli::output::Output;
use crate::clock;
use crate::domain::format;
use crate::domain::log::{
    Anchor, Counts, Doubt, GapKind, Histogram, HistogramRequest, ViewId, WindowRequest, WindowSource,
};
use crate::domain::query::matcher::Matcher;
use crate::domain::query::{Chip, ChipKind, Query, advice};
use crate::domain::sanitise;
use crate::logstore::scan::Depth;
use crate::logstore::source::Source;
use crate::logstore::stream::{Hold, Met, Stream, Take};
use crate::logstore::walk::stretches::Run;
use crate::service::log::{LogService, doubt};
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

/// What was printed.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Records that passed.
    pub records: u64,
    /// Not one source could be read; why was said.
    pub is_unreadable: bool,
    /// Something was lost or could not be read; what was said.
    pub is_incomplete: bool,
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
pub struct Job<'a> {
    pub args: &'a Args,
    pub service: &'a LogService,
    pub query: &'a Query,
    pub is_stream: bool,
    pub comes_once: bool,
    /// Nothing but standard input is read.
    pub only_stdin: bool,
    /// The newest records are kept as they come, see [`newest`](crate::cli::logs::newest).
    pub keeps_newest: bool,
    pub stop: &'a Stop,
}

impl Job<'_> {
    /// Prints, counts or charts.
    pub fn write(&self, matcher: Matcher, file: Option<&mut File>, out: &mut Output<'_>) -> io::Result<Written> {
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
        let is_stuck = !self.wait_until_unpacked();
        // A stream is counted as it comes: there may be more of it than can be kept.
        let counts_as_it_comes = (args.count || args.histogram) && (self.comes_once || is_stuck);
        // Only the object says how many records there are, and knowing it costs a look at every line.
        let tests = counts_as_it_comes && args.count && args.json && !self.query.is_empty();
        let (met, tested) = if tests { (Matcher::default(), Some(Tested::new(matcher))) } else { (matcher, None) };
        let mut stream = Stream::new(self.service.engine(), met, args.context)
            .with_look(args.look(), columns.fields())
            .with_tabs(args.tabs());
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
        if self.keeps_newest
            && let Some(lines) = args.lines
        {
            return self.write_newest(&mut stream, (lines, columns), stdout, stderr);
        }
        if (args.count || args.histogram || args.lines.is_some()) && !counts_as_it_comes {
            self.wait_to_the_end(&stream);
        }
        let many = self.service.engine().sources().len() > 1;
        if args.histogram && !counts_as_it_comes {
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
            printer.tested = tested;
            printer.charted = args.histogram.then(|| stream.charted(self.histogram_request()));
            self.print(&mut stream, &mut printer)?;
        }
        if let Some(charted) = printer.charted.take() {
            if self.stop.is_set() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.draw(&charted.histogram(), printer.out())?;
        } else if counts_as_it_comes {
            let (matched, seen) = (printer.printed, printer.tested.as_ref().map(|it| it.seen));
            let bytes = self.service.engine().sources().iter().map(|it| it.bytes_came().max(it.size_bytes())).sum();
            let counts = Counts { scanned_bytes: bytes, total_bytes: bytes, ..Counts::default() };
            printer.count(Counts { matched, scanned: seen.unwrap_or(matched), complete: true, ..counts })?;
        } else if args.count {
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
        self.say_other_format(&mut printer);
        if args.count || args.lines.is_some() {
            self.say_binary(&mut printer);
        }
        if !self.follows() {
            self.say_advice(&mut printer, |_| true);
        }
        Ok(self.written(printer.printed, &printer))
    }

    /// Prints the last records that pass of a stream: there may be more of it than can be kept.
    fn write_newest(
        &self,
        stream: &mut Stream<'_>,
        (lines, columns): (usize, Columns),
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> io::Result<Written> {
        let mut newest = Newest::new(lines);
        let begins = newest.begins();
        let mut printer = Printer::new(self.args.form(), false, columns, (&mut newest, &mut *stderr));
        printer.begins = Some(begins);
        self.print(stream, &mut printer)?;
        self.say_unsearched(&mut printer);
        self.say_binary(&mut printer);
        self.say_advice(&mut printer, |_| true);
        let mut written = self.written(printer.printed, &printer);
        drop(printer);
        newest.write_to(stdout)?;
        written.records = newest.count() as u64;
        if newest.is_short {
            written.is_incomplete = true;
            let shown = format::plural(written.records, "record");
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(stderr, "~ only the last {shown}: more take too much memory ~");
        }
        Ok(written)
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

    /// Says of which sources no line is in the format that they should be in.
    fn say_other_format(&self, printer: &mut Printer<'_>) {
        for source in self.service.engine().sources() {
            if let Some(doubt @ Doubt::OtherFormat(_)) = doubt::of(&source) {
                printer.say(&format!("{}: {}", source.name, doubt.words()));
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
        if let Some(charted) = &mut printer.charted {
            charted.look_at_edges(stream);
        }
        match result {
            Err(error) if !self.stop.is_set() => Err(error),
            // Whole records were printed up to here.
            _ => printer.flush(),
        }
    }

    /// Draws the histogram; returns how many records there are in it, and whether those are all.
    fn chart(&self, stdout: &mut dyn Write) -> io::Result<(u64, bool)> {
        let Some(histogram) = self.histogram()? else { return Ok((0, true)) };
        self.draw(&histogram, stdout)?;
        Ok((histogram.buckets.iter().map(crate::domain::log::Bucket::total).sum(), histogram.complete))
    }

    fn draw(&self, histogram: &Histogram, out: &mut dyn Write) -> io::Result<()> {
        let width = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).map_or(0, |it| it.ws_col);
        let width = if self.args.for_person() && width > 0 { width } else { WIDTH };
        if self.args.json {
            histogram::write_json(&mut *out, histogram)?;
        } else {
            let glyphs = histogram::Glyphs::new(is_utf8(|name| std::env::var(name).ok()));
            histogram::write_text(&mut *out, histogram, &clock::zone(), glyphs, usize::from(width))?;
        }
        out.flush()
    }

    fn histogram_request(&self) -> HistogramRequest {
        let (from, until) = Matcher::new(self.query, clock::now(), &clock::zone()).unwrap_or_default().time_range();
        HistogramRequest { from, until, buckets: self.args.buckets.unwrap_or(BUCKETS) }
    }

    /// The complete histogram; `None` when there is nothing that has a time.
    fn histogram(&self) -> io::Result<Option<Histogram>> {
        let request = WindowRequest {
            query: self.query.to_string(),
            histogram: Some(self.histogram_request()),
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
