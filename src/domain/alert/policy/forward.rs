//! Passes the silences of people on to channels that have silences of their own, as an Alertmanager does.
//!
//! What such a channel was told before it would go on telling its receivers. A silence of the config is not passed
//! on: it holds back what it is about before any channel hears of it.

use crate::domain::alert::Severity;
use crate::domain::alert::delivery::{Action, Delivery, Message};
use crate::domain::alert::policy::deliver::TITLE_MAX;
use crate::domain::alert::policy::keep::Row;
use crate::domain::alert::policy::{AlertBoard, Out, Run};
use crate::domain::alert::quiet::Silence;
use crate::domain::alert::words;

/// A label that changes while an alert lasts: alerts have it here, and not where labels are their identity.
const PHASE: &str = "phase";

impl AlertBoard {
    /// Sends a silence, or its end, to every notifier that takes silences.
    pub(super) fn forward(&mut self, run: &mut Run<'_>, silence: &Silence, action: Action) {
        // Without a probe there is nothing that could be silenced.
        let Some(host) = run.probes.iter().next().map(|(probe, _)| probe.host().to_string()) else { return };
        if silence.until <= run.now {
            return;
        }
        let takes = self.rules.notifiers.iter().filter(|it| it.takes_silences()).map(|it| it.name.clone());
        for notifier in takes.collect::<Vec<_>>() {
            if silence.matchers.iter().any(|it| it.name == PHASE) {
                let text =
                    format!("silence `{}` holds here only: alerts there have no label `{PHASE}`", silence.what());
                run.tell(&notifier, text);
                continue;
            }
            // Of the same count as messages: an id is never used twice, also after a restart.
            let lane = self.lanes.entry(notifier.clone()).or_default();
            lane.number = lane.number.max(self.numbers_from) + 1;
            let number = lane.number;
            run.keep(Row::Lane(notifier.clone()));
            let key = format!("{host}/silence/{}", silence.id);
            let verb = if action == Action::Silence { "silenced" } else { "no longer silenced" };
            let title = format!("`{}` is {verb} by {}", silence.what(), silence.by);
            let place = format!("{key}:{notifier}:");
            // What was not sent of it so far would only be changed again.
            for older in self.outs.keys().filter(|it| it.starts_with(&place)).cloned().collect::<Vec<_>>() {
                run.change.superseded.push(older.clone());
                self.settle(run, &older);
            }
            let id = format!("{place}{}:{number}", action.word());
            // It is listed until it is taken: whoever silenced it goes on being paged from there, or is not paged again.
            let out = Out {
                notifier: notifier.clone(),
                action,
                at: run.now,
                keys: Vec::new(),
                names: Vec::new(),
                fallback_at: None,
                error: None,
                refused: false,
                title: words::clip(&title, TITLE_MAX),
                next: None,
            };
            self.outs.insert(id.clone(), out);
            run.keep(Row::Out(id.clone()));
            run.change.deliveries.push(Delivery {
                id,
                key,
                notifier,
                action,
                at: run.now,
                // It ends by itself there as well.
                expires: Some(silence.until),
                message: Message {
                    text: silence.comment.clone(),
                    title,
                    severity: Severity::Info,
                    host: host.clone(),
                    alerts: Vec::new(),
                    brief: None,
                },
                follows: None,
                silence: Some(Box::new(silence.clone())),
                because: format!("{} silences it, and `alertmanager` has silences of its own", silence.by),
            });
        }
    }
}
