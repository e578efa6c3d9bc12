//! What lies over the panes: a stack of plain data. The top one gets the keys; Esc takes it away.

pub mod alert_form;
pub mod beside;
pub mod command_line;
pub mod confirm;
pub mod explain;
pub mod help;
pub mod notifiers;
pub mod palette;
pub mod problems;
pub mod queries;
pub mod quiets;
pub mod themes;
pub mod verbs;
pub mod who;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::app::command::Command;
use crate::app::effect::{Effect, Sheet};
use crate::app::event::MouseKind;
use crate::app::model::Model;
use crate::app::overlay::alert_form::AlertForm;
use crate::app::overlay::beside::Beside;
use crate::app::overlay::command_line::CommandLine;
use crate::app::overlay::confirm::Confirm;
use crate::app::overlay::explain::Explain;
use crate::app::overlay::help::Help;
use crate::app::overlay::notifiers::Notifiers;
use crate::app::overlay::palette::Palette;
use crate::app::overlay::problems::Problems;
use crate::app::overlay::queries::QueryPicker;
use crate::app::overlay::quiets::Quiets;
use crate::app::overlay::themes::ThemePicker;
use crate::app::overlay::who::Who;
use crate::domain::key::{Key, KeyCode};
use crate::theme::Theme;

/// Something that lies over the panes.
#[derive(Debug, Clone, PartialEq)]
pub enum Overlay {
    /// All keys of the focused pane.
    Help(Help),
    /// Commands by fuzzy name.
    Palette(Palette),
    /// The line behind `:`.
    CommandLine(CommandLine),
    /// Themes with a live preview.
    Themes(ThemePicker),
    /// Saved and earlier queries.
    Queries(QueryPicker),
    /// A question.
    Confirm(Confirm),
    /// What is wrong with the config.
    Problems(Problems),
    /// Silences, plans a maintenance, acknowledges for longer.
    AlertForm(AlertForm),
    /// Why a probe was paged or not.
    Explain(Explain),
    /// A run here beside that of the agent.
    Beside(Beside),
    /// Silences and maintenances.
    Quiets(Quiets),
    /// How the notifiers are doing.
    Notifiers(Notifiers),
    /// Who is here.
    Who(Who),
}

/// What an overlay makes of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It stays open.
    Stay,
    /// It is closed.
    Close,
    /// It is closed and a command is run.
    Run(Command),
    /// It is closed and a typed line is run.
    Line(String),
    /// It is closed and these are let out.
    Effects(Vec<Effect>),
}

impl Overlay {
    /// What a pane wants to be shown.
    pub(crate) fn of(sheet: Sheet) -> Self {
        match sheet {
            Sheet::Silence(matchers) => Self::AlertForm(AlertForm::silence(&matchers)),
            Sheet::Maintenance(matchers) => Self::AlertForm(AlertForm::maintenance(&matchers)),
            Sheet::Acknowledge(probes) => Self::AlertForm(AlertForm::acknowledge(probes)),
            Sheet::Explain(probe) => Self::Explain(Explain::new(probe)),
            Sheet::Beside { probe, before } => Self::Beside(Beside::new(probe, before)),
            Sheet::Quiets => Self::Quiets(Quiets::default()),
            Sheet::Notifiers => Self::Notifiers(Notifiers::default()),
        }
    }

    /// Takes a key.
    pub fn key(&mut self, model: &mut Model, key: &Key) -> Answer {
        match self {
            Overlay::Help(it) => it.key(model, key),
            Overlay::Palette(it) => it.key(model, key),
            Overlay::CommandLine(it) => it.key(model, key),
            Overlay::Themes(it) => it.key(model, key),
            Overlay::Queries(it) => it.key(key),
            Overlay::Confirm(it) => it.key(key),
            Overlay::Problems(it) => it.key(model, key),
            Overlay::AlertForm(it) => it.key(model, key),
            Overlay::Explain(it) => it.key(model, key),
            Overlay::Beside(it) => it.key(model, key),
            Overlay::Quiets(it) => it.key(model, key),
            Overlay::Notifiers(it) => it.key(model, key),
            Overlay::Who(it) => it.key(model, key),
        }
    }

    /// Takes a paste, where text is typed.
    pub fn paste(&mut self, text: &str) {
        match self {
            Overlay::Help(it) if it.filtering => it.input.paste(text),
            Overlay::Palette(it) => it.paste(text),
            Overlay::CommandLine(it) => it.paste(text),
            Overlay::Queries(it) => it.paste(text),
            Overlay::AlertForm(it) => it.paste(text),
            Overlay::Explain(it) => it.paste(text),
            Overlay::Help(_)
            | Overlay::Themes(_)
            | Overlay::Confirm(_)
            | Overlay::Problems(_)
            | Overlay::Beside(_)
            | Overlay::Quiets(_)
            | Overlay::Notifiers(_)
            | Overlay::Who(_) => {}
        }
    }

    /// The key that a turn of the wheel stands for.
    pub fn wheel(&self, kind: MouseKind) -> Option<Key> {
        let scrolls = match self {
            Overlay::Help(_) | Overlay::Problems(_) | Overlay::Palette(_) | Overlay::Themes(_) => true,
            Overlay::Beside(_) => true,
            Overlay::Queries(_) | Overlay::Quiets(_) | Overlay::Notifiers(_) | Overlay::Who(_) => true,
            Overlay::Explain(it) => !it.is_typing(),
            Overlay::CommandLine(_) | Overlay::Confirm(_) | Overlay::AlertForm(_) => false,
        };
        match kind {
            MouseKind::WheelUp if scrolls => Some(Key::plain(KeyCode::Up)),
            MouseKind::WheelDown if scrolls => Some(Key::plain(KeyCode::Down)),
            _ => None,
        }
    }

    /// Key and meaning for the footer.
    pub fn hints(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Overlay::Help(it) if it.filtering => &[("enter", "keep"), ("esc", "no filter")],
            Overlay::Help(_) => &[("j k", "scroll"), ("/", "filter"), ("esc", "close")],
            Overlay::Palette(_) => &[("enter", "run"), ("up down", "choose"), ("esc", "close")],
            Overlay::CommandLine(_) => &[("enter", "run"), ("tab", "complete"), ("up", "earlier"), ("esc", "close")],
            Overlay::Themes(_) => &[("j k", "try"), ("enter", "keep"), ("esc", "as before")],
            Overlay::Queries(_) => &[("enter", "use"), ("up down", "choose"), ("tab", "add"), ("esc", "close")],
            Overlay::Confirm(_) => &[("y", "yes"), ("n", "no")],
            Overlay::Problems(_) | Overlay::Who(_) => &[("j k", "scroll"), ("esc", "close")],
            Overlay::AlertForm(_) => &[("enter", "do it"), ("tab", "next field"), ("esc", "leave it")],
            Overlay::Beside(_) => &[("j k", "scroll"), ("r", "run both again"), ("esc", "close")],
            Overlay::Explain(it) if it.is_typing() => &[("enter", "explain that time"), ("esc", "back")],
            Overlay::Explain(_) => &[("j k", "scroll"), ("t", "another time"), ("n", "now"), ("esc", "close")],
            Overlay::Quiets(_) => &[("j k", "choose"), ("d", "end it"), ("esc", "close")],
            Overlay::Notifiers(_) => &[("j k", "choose"), ("enter", "send a test"), ("esc", "close")],
        }
    }

    /// Draws itself over the panes; returns where the cursor belongs.
    pub fn view(&self, model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
        match self {
            Overlay::Help(it) => it.view(model, theme, area, buf),
            Overlay::Palette(it) => it.view(model, theme, area, buf),
            Overlay::CommandLine(it) => it.view(model, theme, area, buf),
            Overlay::Themes(it) => it.view(model, theme, area, buf),
            Overlay::Queries(it) => it.view(theme, area, buf),
            Overlay::Confirm(it) => it.view(theme, area, buf),
            Overlay::Problems(it) => it.view(model, theme, area, buf),
            Overlay::AlertForm(it) => it.view(model, theme, area, buf),
            Overlay::Explain(it) => it.view(model, theme, area, buf),
            Overlay::Beside(it) => it.view(model, theme, area, buf),
            Overlay::Quiets(it) => it.view(model, theme, area, buf),
            Overlay::Notifiers(it) => it.view(model, theme, area, buf),
            Overlay::Who(it) => it.view(model, theme, area, buf),
        }
    }
}
