//! A desk for the pane's tests: a log engine that filters a list of lines, and keys typed by script.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::command::CommandTable;
use crate::app::effect::Effect;
use crate::domain::board::Board;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::key::{Key, KeyCode, parse_sequence};
use crate::domain::log::{
    Anchor, ChipCount, Counts, Cursor, Find, Gap, GapKind, Level, LogFact, Position, Record, Row, Window, WindowRequest,
};
use crate::domain::query::Query;
use crate::domain::query::matcher::{Matcher, Pattern, Subject};
use crate::domain::request::{Inbound, Request};
use crate::panes::logs::{LogsCommand, LogsPane};
use crate::panes::{Context, Pane};
use crate::theme::Theme;

/// 2024-08-19 14:51:30 UTC.
pub const START: i64 = 1_724_079_090;

/// The pane with what surrounds it.
pub struct Desk {
    pub pane: LogsPane,
    pub board: Board,
    pub now: Timestamp,
    pub size: (u16, u16),
    pub rows: Vec<Row>,
    /// Requests that were not answered yet, oldest first.
    pub asked: Vec<WindowRequest>,
    /// Everything else that the pane asked of the world.
    pub effects: Vec<Effect>,
    following: Option<WindowRequest>,
    /// Requests are answered at once.
    pub answers: bool,
}

impl Desk {
    /// A pane of this size over these lines of one source, one a second, the last at the desk's time.
    pub fn new(width: u16, height: u16, lines: &[&str]) -> Self {
        let mut desk = Self {
            pane: LogsPane::default(),
            board: Board::default(),
            now: Timestamp::from_second(START).expect("a valid time"),
            size: (width, height),
            rows: Vec::new(),
            asked: Vec::new(),
            effects: Vec::new(),
            following: None,
            answers: true,
        };
        desk.source("api");
        desk.now -= SignedDuration::from_secs(lines.len() as i64);
        for line in lines {
            desk.append("api", line);
        }
        desk.with(|pane, cx| pane.resized(cx));
        desk
    }

    /// Many lines of which every tenth is an error: `info 0`, …, `error 10`, ….
    pub fn numbered(width: u16, height: u16, count: usize) -> Self {
        let lines: Vec<String> = (0..count)
            .map(|at| if at % 10 == 0 { format!("ERROR number {at}") } else { format!("INFO number {at}") })
            .collect();
        Self::new(width, height, &lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn source(&mut self, name: &str) -> SourceId {
        let id = SourceId::new(&HostId::new("h"), name);
        if self.board.logs.get(&id).is_none() {
            let fact = LogFact::Opened { source: id.clone(), name: name.into(), origin: format!("/var/log/{name}") };
            self.board.logs.apply(&fact);
        }
        id
    }

    fn position(&mut self, source: &str) -> Position {
        let offset = self.rows.len() as u64;
        let source = self.source(source);
        Position { time: Some(self.now), source, cursor: Cursor::File { segment: 0, device: 1, inode: 1, offset } }
    }

    /// Adds a record a second later without telling the pane.
    pub fn append(&mut self, source: &str, text: &str) {
        self.now += SignedDuration::from_secs(1);
        let position = self.position(source);
        let stamp = position.time.map(|it| it.strftime("%FT%TZ").to_string()).unwrap_or_default();
        let mut lines: Vec<String> = text.split('\n').map(String::from).collect();
        lines[0] = format!("{stamp} {}", lines[0]);
        let word = text.split(' ').next().unwrap_or_default();
        let level = match word {
            "ERROR" => Some(Level::Error),
            "WARN" => Some(Level::Warn),
            "INFO" => Some(Level::Info),
            _ => None,
        };
        self.rows.push(Row::Record(Record {
            position,
            level,
            time_span: Some(0..stamp.len()),
            styles: Vec::new(),
            hits: Vec::new(),
            length_bytes: lines.iter().map(|it| it.len() as u64 + 1).sum(),
            cut_bytes: 0,
            original: None,
            cells: Vec::new(),
            context: false,
            lines,
        }));
    }

    /// Adds a gap.
    pub fn gap(&mut self, source: &str, kind: GapKind) {
        let position = self.position(source);
        self.rows.push(Row::Gap(Gap { position, kind }));
    }

    /// Adds a record and sends what a following view gets.
    pub fn arrives(&mut self, text: &str) {
        self.append("api", text);
        if let Some(request) = self.following.clone() {
            let window = self.answer(&request);
            self.deliver(window);
        }
    }

    /// Runs something on the pane and gives its effects to the world.
    pub fn with(&mut self, run: impl FnOnce(&mut LogsPane, &Context<'_>) -> Vec<Effect>) {
        let cx = Context {
            now: self.now,
            zone: &TimeZone::UTC,
            board: &self.board,
            width: self.size.0,
            height: self.size.1,
            focused: true,
        };
        for effect in run(&mut self.pane, &cx) {
            match effect {
                Effect::Request(Request::Window(request)) => {
                    if request.follow {
                        self.following = Some(request.clone());
                    }
                    self.asked.push(request);
                }
                other => self.effects.push(other),
            }
        }
        if self.answers {
            self.answer_all();
        }
    }

    /// Answers what is asked, the newest of each view only, until nothing is asked any more.
    pub fn answer_all(&mut self) {
        let was = std::mem::replace(&mut self.answers, false);
        for round in 0.. {
            assert!(round < 20, "the pane asks for ever: {:?}", self.asked);
            let asked = std::mem::take(&mut self.asked);
            if asked.is_empty() {
                break;
            }
            for (at, request) in asked.iter().enumerate() {
                if asked[at + 1..].iter().all(|it| it.view != request.view) {
                    let window = self.answer(request);
                    self.deliver(window);
                }
            }
        }
        self.answers = was;
    }

    /// Gives the pane a window.
    pub fn deliver(&mut self, window: Window) {
        self.with(|pane, cx| pane.inbound(cx, &Inbound::Window(Box::new(window))));
    }

    /// Types keys separated by blanks; `"text"` types a text.
    pub fn press(&mut self, script: &str) {
        let mut waiting: Vec<Key> = Vec::new();
        for word in script.split(' ') {
            let keys: Vec<Key> = match word.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
                Some(text) => text.chars().map(Key::char).collect(),
                None => vec![word.parse().expect("a key")],
            };
            for key in keys {
                if self.pane.captures_keys() {
                    self.with(|pane, cx| pane.key(cx, &key));
                } else if key.code == KeyCode::Esc {
                    self.with(|pane, cx| pane.close(cx).unwrap_or_default());
                } else {
                    waiting.push(key);
                    let is_typed = |it: &&'static str| parse_sequence(it).expect("a key") == waiting;
                    let at = LogsCommand::SPECS.iter().position(|spec| spec.keys.iter().any(&is_typed));
                    if let Some(at) = at {
                        waiting.clear();
                        self.with(|pane, cx| pane.update(cx, LogsCommand::ALL[at]));
                    }
                    assert!(waiting.len() < 3, "no command for {waiting:?}");
                }
            }
        }
    }

    /// What the engine would answer.
    pub fn answer(&self, request: &WindowRequest) -> Window {
        let query = Query::parse(&request.query).expect("the pane sends valid queries");
        let matcher = Matcher::new(&query, self.now, &TimeZone::UTC).expect("valid chips");
        let search = Pattern::regex(&request.search).ok().filter(|_| !request.search.is_empty());
        let matches: Vec<usize> = (0..self.rows.len())
            .filter(|at| match &self.rows[*at] {
                Row::Record(record) => matcher.passes(&Stored::of(record)),
                _ => true,
            })
            .collect();
        let record = |at: usize| match &self.rows[at] {
            Row::Record(record) => Some(record),
            _ => None,
        };
        let found = |at: usize, find: &Find| {
            record(at).is_some_and(|it| match find {
                Find::LevelAtLeast(level) => it.level >= Some(*level),
                Find::Search => search.as_ref().is_some_and(|search| search.is_match(&Stored::of(it).0)),
            })
        };
        let index = |position: &Position| self.rows.iter().position(|it| it.position() == Some(position));
        let mut missing = None;
        // Index into `matches` of the anchor; the end for the tail.
        let anchor = match &request.anchor {
            Anchor::Tail => matches.len(),
            Anchor::Head => 0,
            Anchor::At(position) => {
                let at = index(position).unwrap_or_default();
                matches.partition_point(|it| *it < at)
            }
            Anchor::Time(time) => {
                matches.partition_point(|it| self.rows[*it].position().and_then(|it| it.time) < Some(*time))
            }
            Anchor::Find { from, backwards, find } => {
                let from = from.as_ref().and_then(index).unwrap_or(self.rows.len());
                let hit = if *backwards {
                    matches.iter().rposition(|it| *it < from && found(*it, find))
                } else {
                    matches.iter().position(|it| *it > from && found(*it, find))
                };
                if hit.is_none() {
                    missing = Some(format!("no match {} this", if *backwards { "before" } else { "after" }));
                }
                hit.unwrap_or_else(|| matches.partition_point(|it| *it < from))
            }
        };
        let range =
            anchor.saturating_sub(request.before as usize)..(anchor + request.after as usize).min(matches.len());
        let mut rows = Vec::new();
        let mut anchor_row = None;
        let mut last: Option<usize> = None;
        for at in range.clone() {
            let context = request.context as usize;
            let start = matches[at].saturating_sub(context).max(last.map_or(0, |it| it + 1));
            let next = matches.get(at + 1).copied().unwrap_or(self.rows.len());
            if context > 0 && last.is_some_and(|it| it + 1 < start) {
                rows.push(Row::Break);
            }
            for row in start..(matches[at] + context + 1).min(next).min(self.rows.len()) {
                if row == matches[at] && at == anchor {
                    anchor_row = Some(rows.len());
                }
                rows.push(self.shown(row, row != matches[at], &matcher, search.as_ref()));
                last = Some(row);
            }
        }
        let records = matches.iter().filter(|it| record(**it).is_some()).count() as u64;
        Window {
            view: request.view,
            generation: request.generation,
            rows: Some(rows),
            anchor_row,
            at_head: range.start == 0,
            at_tail: range.end == matches.len(),
            missing,
            counts: Counts {
                matched: records,
                scanned: self.rows.len() as u64,
                scanned_bytes: 0,
                total_bytes: 0,
                complete: request.count,
            },
            query_error: None,
            chip_counts: if request.chip_counts { self.chip_counts(&query) } else { Vec::new() },
            histogram: None,
        }
    }

    /// What each chip leaves of what those before it left.
    fn chip_counts(&self, query: &Query) -> Vec<ChipCount> {
        let left = |chips: usize| {
            let query = Query { chips: query.chips[..chips].to_vec() };
            let matcher = Matcher::new(&query, self.now, &TimeZone::UTC).expect("valid chips");
            let passes = |row: &&Row| matches!(row, Row::Record(record) if matcher.passes(&Stored::of(record)));
            self.rows.iter().filter(passes).count() as u64
        };
        (0..query.chips.len()).map(|at| ChipCount { matched: left(at + 1), of: left(at), complete: true }).collect()
    }

    fn shown(&self, at: usize, context: bool, matcher: &Matcher, search: Option<&Pattern>) -> Row {
        let mut row = self.rows[at].clone();
        if let Row::Record(record) = &mut row {
            record.context = context;
            for pattern in matcher.highlights().chain(search) {
                for (line, text) in record.lines.iter().enumerate() {
                    if let Some(hit) = pattern.find_at(text.as_bytes(), 0) {
                        record.hits.push((line as u32, hit.start as u32..hit.end as u32));
                    }
                }
            }
        }
        row
    }

    /// The title row, then the body, without blanks at line ends.
    pub fn screen(&self) -> String {
        let cx = Context {
            now: self.now,
            zone: &TimeZone::UTC,
            board: &self.board,
            width: self.size.0,
            height: self.size.1,
            focused: true,
        };
        let theme = Theme::mono();
        let area = Rect::new(0, 0, self.size.0, self.size.1);
        let mut buf = Buffer::empty(area);
        self.pane.view(&cx, &theme, area, &mut buf);
        let title: String = self.pane.title(&cx, &theme).spans.iter().map(|it| it.content.to_string()).collect();
        let selected = theme.style(crate::theme::role::Role::Selection);
        let mut lines = vec![title];
        for y in 0..area.height {
            let mut line = String::new();
            let mut x = 0;
            while x < area.width {
                let cell = &buf[(x, y)];
                line.push_str(cell.symbol());
                x += (unicode_width::UnicodeWidthStr::width(cell.symbol()) as u16).max(1);
            }
            let mark = if buf[(area.width - 1, y)].modifier.contains(selected.add_modifier) { ">" } else { " " };
            lines.push(format!("{mark}{}", line.trim_end()));
        }
        lines.join("\n")
    }

    /// The messages of the lines on the screen, the selected one marked.
    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen();
        screen.lines().skip(1).map(|it| it.trim_end().to_string()).collect()
    }

    /// The selected line.
    pub fn selected(&self) -> Option<String> {
        self.lines().into_iter().find_map(|it| it.strip_prefix('>').map(String::from))
    }

    /// The title row.
    pub fn title(&self) -> String {
        self.screen().lines().next().unwrap_or_default().to_string()
    }

    /// The notices so far.
    pub fn notices(&self) -> Vec<String> {
        let notices = self.effects.iter().filter_map(|it| match it {
            Effect::Notice(notice) => Some(notice.text.clone()),
            _ => None,
        });
        notices.collect()
    }
}

/// A record as the matcher sees it.
struct Stored(Vec<u8>, Option<Level>, Option<Timestamp>);

impl Stored {
    fn of(record: &Record) -> Self {
        Self(record.lines.join("\n").into_bytes(), record.level, record.position.time)
    }
}

impl Subject for Stored {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn level(&self) -> Option<Level> {
        self.1
    }
    fn time(&self) -> Option<Timestamp> {
        self.2
    }
}
