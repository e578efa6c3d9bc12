//! The logs pane: a window on all log sources through a stack of filter chips.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use crate::app::effect::Effect;
use crate::panes::{Context, Pane};
use crate::theme::Theme;

crate::commands! {
    /// Commands of the logs pane.
    LogsCommand {
        Down = "logs.down", "Go down", ["j", "down"], "";
        Up = "logs.up", "Go up", ["k", "up"], "";
    }
}

/// The logs pane: a window on all log sources through a stack of filter chips.
#[derive(Debug, Default)]
pub struct LogsPane {}

impl Pane for LogsPane {
    type Command = LogsCommand;
    const TITLE: &'static str = "LOGS";

    fn update(&mut self, _cx: &Context<'_>, command: LogsCommand) -> Vec<Effect> {
        match command {
            LogsCommand::Down | LogsCommand::Up => Vec::new(),
        }
    }

    fn title(&self, _cx: &Context<'_>, _theme: &Theme) -> Line<'static> {
        Line::default()
    }

    fn view(&self, _cx: &Context<'_>, _theme: &Theme, _area: Rect, _buf: &mut Buffer) -> Option<Position> {
        None
    }
}
