//! The screen's whole state: a board, the panes, what lies over them.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::layout::Rect;

use crate::app::effect::{Effect, Notice};
use crate::app::keymap::Keymap;
use crate::app::layout::{Areas, Needs};
use crate::app::notice::Notices;
use crate::app::overlay::Overlay;
use crate::app::past::TimeMachine;
use crate::app::people::{Attention, Spree};
use crate::app::several::Several;
use crate::app::strip;
use crate::app::summary;
use crate::app::ways;
use crate::domain::board::Board;
use crate::domain::config_error::ConfigError;
use crate::domain::fleet::Fleet;
use crate::domain::host::Way;
use crate::domain::ids::HostId;
use crate::domain::key::{Key, KeyBinding};
use crate::domain::presence::You;
use crate::panes::{Context, PaneId, Panes, Reach};
use crate::theme::Theme;
use crate::widgets::input::LineInput;

/// Rows in which the logs say that there is nothing to follow.
const LOGS_ROWS_WITHOUT: u16 = 5;

/// What a screen is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The time.
    pub now: Timestamp,
    /// Times are shown in this zone.
    pub zone: TimeZone,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Every theme that can be chosen, already fitted to the terminal's colours.
    pub themes: Vec<Theme>,
    /// The theme to begin with; an unknown name is the first of `themes`.
    pub theme: Option<String>,
    /// The pane that gets keys first.
    pub focus: PaneId,
    /// What the config binds.
    pub keys: Vec<KeyBinding>,
    /// Mouse reporting from the start.
    pub mouse: bool,
    /// What was found wrong before the screen began (themes).
    pub problems: Vec<ConfigError>,
}

/// The rows that are kept for what is red.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Room {
    urgent: u16,
    reasons: u16,
    // Since when it needs fewer.
    less_since: Option<Timestamp>,
}

/// How long rows for what is red are kept when it needs fewer: as long as a probe that fails every other time takes to
/// fail again.
const ROOM_KEPT: SignedDuration = SignedDuration::from_secs(30);

/// The screen's whole state.
#[derive(Debug)]
pub struct Model {
    /// What is known, kept equal to the runtime's board by its facts; of several hosts their union.
    pub board: Board,
    /// The boards of several hosts, one for each.
    pub fleet: Fleet,
    /// How this screen is connected with each host.
    pub ways: BTreeMap<HostId, Way>,
    /// Who this screen is to the runtime of each host.
    pub you: BTreeMap<HostId, You>,
    /// The panes.
    pub panes: Panes,
    /// The pane that gets keys.
    pub focus: PaneId,
    /// The person gave it the whole screen.
    pub zoomed: bool,
    /// What lies over the panes; the last one gets the keys.
    pub overlays: Vec<Overlay>,
    /// One-line notices.
    pub notices: Notices,
    /// Keys to commands.
    pub keymap: Keymap,
    /// Keys pressed of a sequence that is not complete.
    pub pending: Vec<Key>,
    /// Times are shown in this zone.
    pub zone: TimeZone,
    /// The terminal reports the mouse.
    pub mouse: bool,
    /// The line last typed behind `:` and the ones before it.
    pub command_history: LineInput,
    // What is wrong with the themes and the keys; the config's own mistakes are on the board.
    theme_problems: Vec<ConfigError>,
    key_problems: Vec<ConfigError>,
    /// The time that is drawn: of the last event, or of the past that is shown.
    pub now: Timestamp,
    /// When the last event was seen.
    pub clock: Timestamp,
    /// Whether the past is shown, and which.
    pub past: TimeMachine,
    /// Every theme that can be chosen.
    pub themes: Vec<Theme>,
    /// The theme that the config names; when it comes to name another one, that is taken into use.
    pub config_theme: Option<String>,
    // The one in use, also while it is only being tried.
    theme: Theme,
    size: (u16, u16),
    areas: Areas,
    room: Room,
    // The areas that the panes were told of.
    told: Areas,
    pub(super) attention: Attention,
    // What one key asked of many, until all have answered.
    pub(super) several: Option<Several>,
    // What somebody else acknowledges, one after the other.
    pub(super) spree: Option<Spree>,
    dirty: bool,
}

impl Model {
    /// Makes a screen that knows nothing yet.
    pub fn new(setup: Setup) -> Self {
        let (keymap, key_problems) = Keymap::build(&setup.keys);
        let wanted = setup.theme.as_deref().and_then(|name| setup.themes.iter().find(|it| it.name == name));
        let theme = wanted.or(setup.themes.first()).cloned().unwrap_or_else(Theme::mono);
        let mut model = Self {
            board: Board::default(),
            fleet: Fleet::default(),
            ways: BTreeMap::new(),
            you: BTreeMap::new(),
            panes: Panes::default(),
            focus: setup.focus,
            zoomed: false,
            overlays: Vec::new(),
            notices: Notices::default(),
            keymap,
            pending: Vec::new(),
            zone: setup.zone,
            mouse: setup.mouse,
            command_history: LineInput::default(),
            theme_problems: setup.problems,
            key_problems,
            now: setup.now,
            clock: setup.now,
            past: TimeMachine::default(),
            themes: setup.themes,
            config_theme: None,
            theme,
            size: setup.size,
            areas: Areas::default(),
            room: Room::default(),
            told: Areas::default(),
            attention: Attention::default(),
            several: None,
            spree: None,
            dirty: true,
        };
        model.divide_again();
        model
    }

    /// The theme in use, also while it is only being tried.
    pub fn theme(&self) -> &Theme {
        &self.theme
    }

    /// Takes a theme into use. `false`: there is none of this name.
    pub fn set_theme(&mut self, name: &str) -> bool {
        let Some(found) = self.themes.iter().find(|it| it.name == name) else { return false };
        self.theme = found.clone();
        self.dirty = true;
        true
    }

    /// Takes other key bindings into use, after the config was read again.
    pub fn rebind(&mut self, keys: &[KeyBinding]) {
        let (keymap, errors) = Keymap::build(keys);
        self.keymap = keymap;
        self.key_problems = errors;
        self.pending.clear();
        self.dirty = true;
    }

    /// Takes the theme of a changed config into use. What a person chose stays while the config names the same.
    pub fn follow_config_theme(&mut self, name: Option<&str>) {
        if self.config_theme.as_deref() == name {
            return;
        }
        self.config_theme = name.map(ToString::to_string);
        if let Some(name) = name {
            // A name that is not known is a mistake of the config, which is said elsewhere.
            let _ = self.set_theme(name);
        }
    }

    /// Columns and rows of the screen.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Where everything stands.
    pub fn areas(&self) -> &Areas {
        &self.areas
    }

    /// True when the focused pane has the whole room, by wish or because it shows something large.
    pub fn is_zoomed(&self) -> bool {
        self.zoomed || self.panes.wants_zoom(self.focus)
    }

    /// Everything wrong with the config, the keys and the themes.
    pub fn config_problems(&self) -> Vec<&ConfigError> {
        let board = &self.board.config;
        let mut problems: Vec<&ConfigError> = Vec::new();
        for problem in board.rejected.iter().chain(&board.errors).chain(&self.key_problems).chain(&self.theme_problems)
        {
            // Who reads the config for a screen looks at its keys too.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }

    /// Whether the picture may have changed since this was last asked.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// When the screen must be woken though nothing happens: a notice grows old, a clock on it moves on.
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let reading = self.past.reading_wake(now);
        if let Some(wake) = self.past_wake(now) {
            // Nothing moves in the past.
            let asked = self.attend_due().into_iter().chain(self.several_due()).chain(reading);
            return self.notices.next_wake().into_iter().chain([wake]).chain(asked).min();
        }
        let panes = PaneId::ALL.iter().filter_map(|it| self.panes.next_wake(*it, &self.context(*it)));
        let tick = (summary::ticks(&self.board) || ways::counts(self)).then(|| next_second(now));
        let asked = self.attend_due().into_iter().chain(self.several_due());
        let room = self.room.less_since.and_then(|it| it.checked_add(ROOM_KEPT).ok());
        let asked = asked.chain(room).chain(reading);
        panes.chain(self.notices.next_wake()).chain(tick).chain(asked).min()
    }

    /// How the hosts are reached.
    pub fn reach(&self) -> Reach<'_> {
        Reach { ways: Some(&self.ways), fleet: Some(&self.fleet) }
    }

    /// What a pane may look at.
    pub fn context(&self, pane: PaneId) -> Context<'_> {
        let body = self.areas.body(pane);
        Context {
            now: self.now,
            zone: &self.zone,
            board: &self.board,
            width: body.width,
            height: body.height,
            focused: self.focus == pane && self.overlays.is_empty(),
            me: me(&self.board, &self.you),
            reach: self.reach(),
        }
    }

    /// Lets a pane change itself.
    pub(crate) fn with_pane<R>(&mut self, pane: PaneId, change: impl FnOnce(&mut Panes, &Context<'_>) -> R) -> R {
        let body = self.areas.body(pane);
        let cx = Context {
            now: self.now,
            zone: &self.zone,
            board: &self.board,
            width: body.width,
            height: body.height,
            focused: self.focus == pane && self.overlays.is_empty(),
            me: me(&self.board, &self.you),
            reach: Reach { ways: Some(&self.ways), fleet: Some(&self.fleet) },
        };
        change(&mut self.panes, &cx)
    }

    pub(crate) fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.notices.push(self.clock, notice);
        self.dirty = true;
    }

    pub(crate) fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        self.dirty = true;
    }

    /// Divides the screen anew.
    pub(crate) fn divide_again(&mut self) {
        self.areas = self.divide();
    }

    /// Divides the screen anew and tells the panes whose size changed.
    pub(crate) fn arrange(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        // A pane may answer a new size by wanting another one; twice is enough to settle, and a bound.
        for _ in 0..2 {
            self.keep_room();
            self.divide_again();
            if self.areas == self.told {
                break;
            }
            let before = std::mem::replace(&mut self.told, self.areas.clone());
            for pane in PaneId::ALL {
                let (old, new) = (before.body(*pane), self.areas.body(*pane));
                if (old.width, old.height) != (new.width, new.height) {
                    effects.extend(self.with_pane(*pane, |panes, cx| panes.resized(*pane, cx)));
                }
            }
        }
        effects
    }

    /// A pane has nothing to show but a hint.
    fn is_idle(&self, pane: PaneId) -> bool {
        match pane {
            PaneId::Services | PaneId::Logs => false,
            PaneId::Backups => self.board.backups.jobs.is_empty(),
            PaneId::Incident => self.panes.incident.is_idle(&self.context(PaneId::Incident)),
        }
    }

    /// How many rows what is red needs. They are kept for a while when it needs fewer: rows that come and go with every
    /// run cannot be read.
    fn keep_room(&mut self) {
        let (urgent, reasons) = self.panes.services.urgent_rows(&self.context(PaneId::Services));
        let is_less = urgent <= self.room.urgent && reasons <= self.room.reasons;
        let is_same = is_less && urgent == self.room.urgent && reasons == self.room.reasons;
        let less_since = match self.room.less_since {
            _ if is_same || !is_less => None,
            // The clock was set back, or this is the first time.
            Some(it) if it <= self.clock => Some(it),
            _ => Some(self.clock),
        };
        let is_over = less_since.is_some_and(|it| self.clock.duration_since(it) >= ROOM_KEPT);
        self.room = match is_over {
            true => Room { urgent, reasons, less_since: None },
            false => Room { urgent: urgent.max(self.room.urgent), reasons: reasons.max(self.room.reasons), less_since },
        };
    }

    fn divide(&self) -> Areas {
        let wanted: Vec<u16> = PaneId::ALL.iter().map(|it| self.panes.wanted_rows(*it, &self.context(*it))).collect();
        // Only logs are looked at: the others keep their titles, and open when they get the keys.
        let board = &self.board;
        let only_logs = !board.logs.sources.is_empty()
            && board.probes.is_empty()
            && board.backups.jobs.is_empty()
            && board.incidents.open_incidents().next().is_none();
        let no_logs = board.logs.sources.is_empty();
        let wanted = |at: usize| match PaneId::ALL[at] {
            PaneId::Logs if no_logs => LOGS_ROWS_WITHOUT,
            PaneId::Logs => wanted[at],
            _ if only_logs => 0,
            _ => wanted[at],
        };
        let needs = Needs {
            focus: self.focus,
            zoomed: self.is_zoomed(),
            header_rows: strip::rows(self),
            wanted: std::array::from_fn(wanted),
            urgent: self.room.urgent,
            reasons: self.room.reasons,
            idle: std::array::from_fn(|at| self.is_idle(PaneId::ALL[at])),
        };
        Areas::divide(Rect::new(0, 0, self.size.0, self.size.1), &needs)
    }
}

/// The name under which what this screen asks is recorded; empty until it is known.
fn me<'a>(board: &Board, you: &'a BTreeMap<HostId, You>) -> &'a str {
    let of_host = board.host.as_ref().and_then(|it| you.get(it));
    of_host.or_else(|| you.values().next()).map_or("", |it| it.visitor.user.as_str())
}

/// The next whole second: clocks on the screen move when a wall clock does.
fn next_second(now: Timestamp) -> Timestamp {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.checked_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}
