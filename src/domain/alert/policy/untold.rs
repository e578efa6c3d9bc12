//! Why nobody has been told of an alert so far, in words: there are many reasons, and each asks for something else.

use crate::domain::alert::policy::AlertBoard;
use crate::domain::alert::policy::alert::{Alert, Stage};
use crate::domain::alert::rules::{AlertRules, Named};
use crate::domain::probe::{ProbeBoard, ProbeRules};

/// How the answer begins when nobody is about to be told either.
pub const TOLD_NOBODY: &str = "told nobody: ";

impl AlertRules {
    /// Why a probe that names nobody in `notify` names nobody.
    pub fn names_nobody(&self, rules: Option<&ProbeRules>) -> &'static str {
        match rules {
            Some(rules) if rules.untold => "`notify = []` says that nobody is to be told",
            _ if self.notifiers.is_empty() => "the config has no `[[notifier]]`",
            _ => "`notify` is set neither at the probe nor in `[defaults]`",
        }
    }
}

impl AlertBoard {
    /// Why nobody is told of an alert yet that nothing holds back, in words.
    pub fn untold(&self, alert: &Alert, probes: &ProbeBoard) -> String {
        let rules = alert.probe().and_then(|it| probes.get(it)).map(|it| &it.setup.rules);
        if alert.notify.is_empty() {
            return format!("{TOLD_NOBODY}{}", self.rules.names_nobody(rules));
        }
        let waiting = alert.contacts.iter().filter(|(_, it)| it.stage == Stage::Waiting && !it.is_told && !it.reached);
        let waiting: Vec<String> = waiting.map(|(name, _)| self.about_to_tell(alert, name)).collect();
        if !waiting.is_empty() {
            return waiting.join("; ");
        }
        // What was found out about each name when it was its turn.
        let steps = alert.probe().and_then(|it| self.trail(it)).into_iter().flat_map(|it| it.steps.iter().rev());
        let mut found: Vec<String> = Vec::new();
        let said = steps.filter(|it| it.at.is_some_and(|it| it >= alert.opened) && it.kind == "rule");
        said.for_each(|it| {
            if !found.contains(&it.text) {
                found.push(it.text.clone())
            }
        });
        for name in &alert.notify {
            let Some(Named::Ladder(ladder)) = self.rules.named(name) else { continue };
            let done = alert.climbed.get(name).map_or(0, |it| it.done);
            let begun = alert.climbed.get(name).map(|it| it.at).or(alert.begun);
            if let Some((step, begun)) = ladder.steps.get(done).zip(begun)
                && let Ok(due) = begun.checked_add(step.after)
            {
                let whom = step.notify.join(", ");
                found.push(format!("step {} of ladder `{name}`, {whom}, comes at {due:.0}", done + 1));
            }
        }
        let why = if found.is_empty() {
            let names: Vec<String> = alert.notify.iter().map(|it| format!("`{it}`")).collect();
            format!("nobody is asked yet of {}", names.join(", "))
        } else {
            found.join("; ")
        };
        format!("{TOLD_NOBODY}{why}")
    }

    /// When a notifier is told for the first time, and what it waits for.
    fn about_to_tell(&self, alert: &Alert, name: &str) -> String {
        let Some((lane, rule)) = self.lane(name).zip(self.rules.notifier(name)) else {
            return format!("about to tell {name}");
        };
        let Some((entry, due)) = lane.get(&alert.key).zip(lane.due(rule)) else {
            return format!("about to tell {name}");
        };
        match lane.held_by(rule).filter(|_| entry.due < due) {
            Some(why) => format!("{name} is told at {due:.0}, held until then: {why}"),
            None => format!("{name} is told at {due:.0}, with what comes until then"),
        }
    }
}
