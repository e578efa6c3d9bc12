//! Who gets a key: an overlay, an input of the focused pane, the pane's keys, the keys that work everywhere.

use crate::app::command::{Command, GlobalCommand};
use crate::app::effect::{Effect, Notice};
use crate::app::keymap::Lookup;
use crate::app::model::Model;
use crate::app::overlay::{Answer, Overlay};
use crate::domain::key::{Key, KeyCode, print_sequence};

impl Model {
    pub(super) fn on_key(&mut self, key: &Key) -> Vec<Effect> {
        if let Some(command) = self.above_typing(key) {
            self.notices.go_on(self.clock);
            return self.run(command);
        }
        if !self.overlays.is_empty() {
            self.notices.go_on(self.clock);
            return self.overlay_key(key);
        }
        if self.panes.captures_keys(self.focus) {
            self.notices.go_on(self.clock);
            let focus = self.focus;
            return self.with_pane(focus, |panes, cx| panes.key(focus, cx, key));
        }
        self.command_key(key)
    }

    /// The palette and the way out work while something is typed. Only their keys with Ctrl do: the others are text.
    fn above_typing(&self, key: &Key) -> Option<Command> {
        let Lookup::Command(command @ Command::Global(global)) = self.keymap.lookup_global(&[*key]) else {
            return None;
        };
        let works = key.ctrl && matches!(global, GlobalCommand::Palette | GlobalCommand::QuitNow);
        works.then_some(command)
    }

    fn command_key(&mut self, key: &Key) -> Vec<Effect> {
        if *key == Key::plain(KeyCode::Esc) && !self.pending.is_empty() {
            self.pending.clear();
            return Vec::new();
        }
        self.pending.push(*key);
        match self.keymap.lookup(self.focus, &self.pending) {
            Lookup::Prefix => Vec::new(),
            Lookup::Command(command) => {
                self.pending.clear();
                self.notices.go_on(self.clock);
                self.run(command)
            }
            Lookup::Nothing => {
                let pressed = std::mem::take(&mut self.pending);
                // A single key that means nothing is a slip; a chord that means nothing deserves a word.
                if pressed.len() < 2 {
                    return Vec::new();
                }
                vec![Notice::warn(format!("`{}` means nothing here", print_sequence(&pressed)))]
            }
        }
    }

    fn overlay_key(&mut self, key: &Key) -> Vec<Effect> {
        // Taken out while it thinks, so that it may look at the whole model; put back unless it closes.
        let Some(mut overlay) = self.overlays.pop() else { return Vec::new() };
        match overlay.key(self, key) {
            Answer::Stay => {
                self.overlays.push(overlay);
                Vec::new()
            }
            Answer::Close => {
                self.overlay_closed(&overlay);
                Vec::new()
            }
            Answer::Run(command) => {
                self.overlay_closed(&overlay);
                self.run(command)
            }
            Answer::Line(line) => {
                self.overlay_closed(&overlay);
                self.run_line(&line)
            }
            Answer::Effects(effects) => {
                self.overlay_closed(&overlay);
                effects
            }
        }
    }

    fn overlay_closed(&mut self, overlay: &Overlay) {
        if let Overlay::CommandLine(line) = overlay {
            self.command_history = line.input.clone();
        }
    }
}
