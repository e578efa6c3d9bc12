//! What the loop drives: the pure screen as the loop sees it.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::app::effect::Effect;
use crate::app::event::Event;
use crate::app::model::Model;
use crate::app::view::view;
use crate::config::Config;

/// A screen without a terminal: events in, effects and pictures out.
pub trait Screen {
    /// Folds one event in.
    fn update(&mut self, now: Timestamp, event: Event) -> Vec<Effect>;

    /// Whether the picture may have changed since this was last asked.
    fn take_dirty(&mut self) -> bool;

    /// When the screen must be woken though nothing happens.
    fn next_wake(&self, now: Timestamp) -> Option<Timestamp>;

    /// Takes a changed config into use.
    fn configure(&mut self, config: &Config);

    /// Draws everything; returns where the terminal's cursor belongs while an input is open.
    fn view(&self, now: Timestamp, area: Rect, buf: &mut Buffer) -> Option<Position>;
}

impl Screen for Model {
    fn update(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        Model::update(self, now, event)
    }

    fn take_dirty(&mut self) -> bool {
        Model::take_dirty(self)
    }

    fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        Model::next_wake(self, now)
    }

    fn configure(&mut self, config: &Config) {
        self.rebind(&config.keys);
        self.follow_config_theme(config.screen.theme.as_deref());
        self.panes.logs.set_queries(&config.queries);
    }

    fn view(&self, _now: Timestamp, area: Rect, buf: &mut Buffer) -> Option<Position> {
        view(self, self.theme(), area, buf).cursor
    }
}
