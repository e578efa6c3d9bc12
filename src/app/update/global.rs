//! The commands that mean the same in every pane.

use crate::app::command::{Command, GlobalCommand};
use crate::app::effect::{Effect, Notice};
use crate::app::model::Model;
use crate::app::overlay::Overlay;
use crate::app::overlay::command_line::CommandLine;
use crate::app::overlay::confirm::Confirm;
use crate::app::overlay::help::Help;
use crate::app::overlay::palette::Palette;
use crate::app::overlay::problems::Problems;
use crate::app::overlay::themes::ThemePicker;
use crate::app::overlay::who::Who;
use crate::app::ways;
use crate::domain::host::{Again, Way};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::PaneId;

impl Model {
    pub(super) fn run_global(&mut self, command: GlobalCommand) -> Vec<Effect> {
        match command {
            GlobalCommand::NextPane => self.step_pane(1),
            GlobalCommand::PreviousPane => self.step_pane(PaneId::ALL.len() - 1),
            GlobalCommand::Pane1 => self.go_to(PaneId::Services),
            GlobalCommand::Pane2 => self.go_to(PaneId::Logs),
            GlobalCommand::Pane3 => self.go_to(PaneId::Backups),
            GlobalCommand::Pane4 => self.go_to(PaneId::Incident),
            GlobalCommand::Zoom => self.zoomed = !self.zoomed,
            GlobalCommand::Acknowledge => return self.acknowledge(),
            GlobalCommand::Note => return self.start_note(),
            GlobalCommand::Editor => return self.open_editor(),
            GlobalCommand::Declare => return self.start_declare(),
            GlobalCommand::Help => self.open(Overlay::Help(Help::default())),
            GlobalCommand::Palette => self.open(Overlay::Palette(Palette::default())),
            GlobalCommand::CommandLine => {
                let line = CommandLine::new(self.command_history.clone());
                self.open(Overlay::CommandLine(line));
            }
            GlobalCommand::Theme => {
                let picker = ThemePicker::new(&self.theme().name);
                self.open(Overlay::Themes(picker));
            }
            GlobalCommand::Mouse => return self.switch_mouse(),
            GlobalCommand::TakeOver => return self.take_over(),
            GlobalCommand::Reattach => return self.reattach(),
            GlobalCommand::Reload => return vec![Effect::Request(Request::ReloadConfig)],
            GlobalCommand::Redraw => return vec![Effect::Redraw],
            GlobalCommand::Suspend => return self.suspend(),
            GlobalCommand::Who => self.open(Overlay::Who(Who::default())),
            GlobalCommand::Problems => return self.show_problems(),
            GlobalCommand::PastEarlier => return self.step_past(true, None),
            GlobalCommand::PastLater => return self.step_past(false, None),
            GlobalCommand::PastEarlierProbe => return self.step_past_of_probe(true),
            GlobalCommand::PastLaterProbe => return self.step_past_of_probe(false),
            GlobalCommand::Live => return self.leave_past(),
            GlobalCommand::Back => {
                return match self.close_innermost() {
                    // What was said of what is closed now, such as how to close it, is not true any more.
                    Some(effects) => {
                        self.notices.leave();
                        effects
                    }
                    None => self.dismiss_notice(),
                };
            }
            // A notice comes by itself and is no level to back out of: the key would do what nobody foresaw.
            GlobalCommand::Quit => return self.close_innermost().unwrap_or_else(|| self.quit()),
            GlobalCommand::QuitNow => return self.quit(),
        }
        Vec::new()
    }

    /// Opens an overlay, or closes it when the same one lies on top: the key that opens help also closes it.
    fn open(&mut self, overlay: Overlay) {
        let same = |it: &Overlay| std::mem::discriminant(it) == std::mem::discriminant(&overlay);
        if self.overlays.last().is_some_and(same) {
            self.overlays.pop();
        } else {
            self.overlays.retain(|it| !same(it));
            self.overlays.push(overlay);
        }
        self.pending.clear();
    }

    fn step_pane(&mut self, step: usize) {
        let at = PaneId::ALL.iter().position(|it| *it == self.focus).unwrap_or_default();
        self.go_to(PaneId::ALL[(at + step) % PaneId::ALL.len()]);
    }

    /// Backs out one level: what the pane has open, then the zoom. `None`: there was nothing to close.
    fn close_innermost(&mut self) -> Option<Vec<Effect>> {
        let focus = self.focus;
        if let Some(effects) = self.with_pane(focus, |panes, cx| panes.close(focus, cx)) {
            return Some(effects);
        }
        if self.zoomed {
            self.zoomed = false;
            return Some(Vec::new());
        }
        if self.past.at().is_some() {
            return Some(self.leave_past());
        }
        None
    }

    fn dismiss_notice(&mut self) -> Vec<Effect> {
        self.notices.dismiss();
        Vec::new()
    }

    fn quit(&mut self) -> Vec<Effect> {
        let unsaved: Vec<String> = PaneId::ALL.iter().filter_map(|it| self.panes.unsaved(*it)).collect();
        // Asked already: pressing Ctrl-C again is an answer.
        let asked = matches!(self.overlays.last(), Some(Overlay::Confirm(it)) if it.then == [Effect::Quit]);
        let backup =
            self.board.backups.at_work().map(|it| format!("backup `{}` is running and would be cut off", it.name()));
        let drafts =
            (!unsaved.is_empty()).then(|| format!("{} is not saved, only kept as a draft", unsaved.join(" and ")));
        let reasons: Vec<String> = drafts.into_iter().chain(backup).collect();
        if reasons.is_empty() || asked {
            return vec![Effect::Quit];
        }
        let question = format!("{}. Quit?", reasons.join("; "));
        self.overlays.push(Overlay::Confirm(Confirm { question, then: vec![Effect::Quit] }));
        Vec::new()
    }

    /// Asks whether this screen shall watch from now on; says why it need not or cannot.
    fn take_over(&mut self) -> Vec<Effect> {
        if self.readonly() {
            return vec![Notice::warn("this screen is read-only: open one without `--readonly` to take over")];
        }
        let lost = self.ways.iter().find(|(_, way)| matches!(way, Way::Lost { .. }));
        match lost {
            Some((host, Way::Lost { can_take_over: true, ends, .. })) => {
                let end = ends.as_ref().map_or_else(String::new, |it| format!("end {}, and ", sanitise::text(it)));
                let question = format!(
                    "{end}watch `{host}` from this screen? It then probes, pages and backs up until it closes."
                );
                self.ask_to_take_over(question)
            }
            Some((host, _)) => {
                vec![Notice::warn(format!(
                    "`{host}` cannot be taken over: whoever held it still does, or it cannot be done from here"
                ))]
            }
            None => match ways::deaf_holder(self).map(sanitise::text) {
                Some(holder) => self.ask_to_take_over(format!(
                    "end {holder}, unless it answers, and watch from this screen? It then probes, pages and backs up \
                     until it closes."
                )),
                None => vec![Notice::info("nothing is lost: there is nothing to take over")],
            },
        }
    }

    /// Tries at once to reach what is not; says when that cannot help.
    fn reattach(&mut self) -> Vec<Effect> {
        let can_help = |way: &Way| match way {
            Way::Lost { .. } => true,
            Way::Refused { again, .. } => *again != Again::Never,
            Way::Connecting | Way::Inside | Way::Attached { .. } => false,
        };
        let away: Vec<String> =
            self.ways.iter().filter(|(_, it)| can_help(it)).map(|(host, _)| format!("`{host}`")).collect();
        if away.is_empty() {
            let never = self.ways.iter().find(|(_, way)| matches!(way, Way::Refused { .. }));
            return vec![match never.and_then(|(host, way)| way.absence(host, self.now)) {
                Some(why) => Notice::warn(sanitise::text(&why)),
                None => Notice::info("nothing is lost or refused: there is nothing to try again"),
            }];
        }
        vec![Notice::info(format!("trying {} again", away.join(", "))), Effect::Request(Request::Reattach)]
    }

    /// Closes the question whether to take over when somebody watches again: a yes would come too late.
    pub(super) fn drop_take_over(&mut self) -> Vec<Effect> {
        let asks = |it: &Overlay| matches!(it, Overlay::Confirm(it) if it.then == [Effect::Request(Request::TakeOver)]);
        let is_trying = self.ways.values().any(|it| *it == Way::Connecting);
        if is_trying || ways::can_take_over(self) || !self.overlays.iter().any(asks) {
            return Vec::new();
        }
        self.overlays.retain(|it| !asks(it));
        vec![Notice::info("somebody watches again: there is nothing to take over any more")]
    }

    fn ask_to_take_over(&mut self, question: String) -> Vec<Effect> {
        let then = vec![Effect::Request(Request::TakeOver)];
        self.overlays.push(Overlay::Confirm(Confirm { question, then }));
        Vec::new()
    }

    /// Suspends; asks first when nobody would watch meanwhile.
    fn suspend(&mut self) -> Vec<Effect> {
        let board = &self.board;
        let holds = self.ways.values().any(|it| *it == Way::Inside) && board.standby.is_none();
        let has_work = !board.probes.is_empty() || !board.backups.jobs.is_empty();
        // One of those who do not only look goes on.
        let others = board.presence.iter().filter(|(_, it)| !it.visitor.readonly).count().saturating_sub(1);
        let backup = board.backups.at_work().map(|it| format!("backup `{}` is cut off", it.name()));
        let alone = (holds && has_work && others == 0)
            .then(|| "nobody else is here: nothing is probed, paged or backed up until `fg`".to_string());
        let reasons: Vec<String> = backup.filter(|_| holds).into_iter().chain(alone).collect();
        if reasons.is_empty() {
            return vec![Effect::Suspend];
        }
        let question = format!("{}. Suspend?", reasons.join("; "));
        self.overlays.push(Overlay::Confirm(Confirm { question, then: vec![Effect::Suspend] }));
        Vec::new()
    }

    fn switch_mouse(&mut self) -> Vec<Effect> {
        let on = !self.mouse;
        let key = self.keymap.label(Command::Global(GlobalCommand::Mouse));
        let back = key.map_or(String::new(), |it| format!(", {it} switches it off"));
        let text = if on {
            format!("mouse on, hold Shift to select text{back}")
        } else {
            "mouse off, the terminal selects text again".to_string()
        };
        vec![Effect::Mouse(on), Notice::info(text)]
    }

    fn show_problems(&mut self) -> Vec<Effect> {
        if self.config_problems().is_empty() {
            return vec![Notice::info("nothing is wrong with the config")];
        }
        self.open(Overlay::Problems(Problems::default()));
        Vec::new()
    }

    pub(crate) fn choose_theme(&mut self, name: &str) -> Vec<Effect> {
        if self.set_theme(name) {
            return vec![Effect::KeepTheme(name.to_string())];
        }
        let names: Vec<&str> = self.themes.iter().map(|it| it.name.as_str()).collect();
        vec![Notice::warn(format!("there is no theme `{name}`, only {}", names.join(", ")))]
    }
}
