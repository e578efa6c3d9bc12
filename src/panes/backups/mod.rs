//! The backups pane: every run, also the failed and the missed ones.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use crate::app::effect::Effect;
use crate::panes::{Context, Pane};
use crate::theme::Theme;

crate::commands! {
    /// Commands of the backups pane.
    BackupsCommand {
        Down = "backups.down", "Go down", ["j", "down"], "";
        Up = "backups.up", "Go up", ["k", "up"], "";
    }
}

/// The backups pane: every run, also the failed and the missed ones.
#[derive(Debug, Default)]
pub struct BackupsPane {}

impl Pane for BackupsPane {
    type Command = BackupsCommand;
    const TITLE: &'static str = "BACKUPS";

    fn update(&mut self, _cx: &Context<'_>, command: BackupsCommand) -> Vec<Effect> {
        match command {
            BackupsCommand::Down | BackupsCommand::Up => Vec::new(),
        }
    }

    fn title(&self, _cx: &Context<'_>, _theme: &Theme) -> Line<'static> {
        Line::default()
    }

    fn view(&self, _cx: &Context<'_>, _theme: &Theme, _area: Rect, _buf: &mut Buffer) -> Option<Position> {
        None
    }
}
