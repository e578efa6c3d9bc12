//! A desk for the pane's tests: a log engine that filters a list of lines, and keys typed by script.

mod engine;

use crate as host;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::app::command::CommandTable;
use crate::app::effect::Effect;
use crate::domain::board::Board;
use crate::domain::ids::{HostId, SourceId};
use crate::domain::key::{Key, KeyCode, parse_sequence};
use crate::domain::log::{Cursor, Gap, GapKind, Level, LogFact, Position, Record, Row, Window, WindowRequest};
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
            level,
            time_span: Some(0..stamp.len()),
            length_bytes: lines.iter().map(|it| it.len() as u64 + 1).sum(),
            ..Record::new(position, lines)
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

    /// Adds a line to the newest record and sends what a following view gets.
    pub fn grows(&mut self, line: &str) {
        if let Some(Row::Record(record)) = self.rows.last_mut() {
            record.lines.push(line.into());
        }
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
            me: "alice",
            reach: Default::default(),
        };
        for effect in run(&mut self.pane, &cx) {
            match effect {
                Effect::Request(Request::Window(request)) => {
                    if request.follow {
                        self.following = Some((*request).clone());
                    }
                    self.asked.push(*request);
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
        engine::answer(&self.rows, request, self.now)
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
            me: "alice",
            reach: Default::default(),
        };
        let theme = Theme::mono();
        let area = Rect::new(0, 0, self.size.0, self.size.1);
        let mut buf = Buffer::empty(area);
        self.pane.view(&cx, &theme, area, &mut buf);
        let title: String = self
            .pane
            .title(&cx, &theme, usize::from(cx.width).saturating_sub(21))
            .spans
            .iter()
            .map(|it| it.content.to_string())
            .collect();
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
