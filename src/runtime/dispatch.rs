//! From a screen's request to the service that carries it out.

use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::alert::explain::ExplainRequest;
use crate::domain::alert::quiet::{ACKNOWLEDGED, MAINTAINED, MaintenanceWindow, SILENCED, UNACKNOWLEDGED};
use crate::domain::alert::{Acknowledgement, AlertFact};
use crate::domain::effect::Effect;
use crate::domain::fact::{Actor, Fact};
use crate::domain::presence::{PresenceFact, ScreenId, Via, Visitor};
use crate::domain::probe::history::HistoryRequest;
use crate::domain::request::{Inbound, Request};
use crate::runtime::attach::Asked;
use crate::runtime::reload::Reloads;
use crate::runtime::{Active, Services, explain};
use crate::service::{Asker, Reply};

/// A screen that is attached.
#[derive(Debug, Clone)]
pub struct Guest {
    pub screen: ScreenId,
    pub visitor: Visitor,
}

/// Requests of one screen that wait for the start to be over; a person presses fewer keys in that time.
const EARLY_MAX: usize = 16;

impl Services {
    /// True when a request must wait for services that this runtime will have in a moment.
    fn is_too_early_for(&self, request: &Request) -> bool {
        let needs_active = matches!(
            request,
            Request::RunProbe(_)
                | Request::BurstProbe(_)
                | Request::AcknowledgeProbe(_)
                | Request::Acknowledge { .. }
                | Request::Unacknowledge(_)
                | Request::RunBackup(_)
                | Request::VerifyBackup(_)
        );
        needs_active && self.active.get().is_none() && self.keeper.get().is_some()
    }
}

/// Carries out what a screen asks until it goes away or the runtime stops; what was asked before is still done.
pub async fn serve<T: Into<Asked>>(
    services: Arc<Services>,
    reloads: Reloads,
    guest: Guest,
    reply: Reply,
    mut requests_rx: mpsc::Receiver<T>,
    stopping: CancellationToken,
) {
    let carry_out = |asked: Asked| {
        let reply = settling(&reply, asked.number);
        dispatch(&services, &reloads, &guest, &reply, asked.request);
    };
    // What came before the services that carry it out; they are there as soon as the store is read.
    let mut early = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = services.started.cancelled(), if !early.is_empty() => early.drain(..).for_each(carry_out),
            request = requests_rx.recv() => match request.map(Into::into) {
                Some(asked) if early.len() < EARLY_MAX && services.is_too_early_for(&asked.request) => {
                    early.push(asked);
                }
                Some(asked) => carry_out(asked),
                None => return,
            },
            () = stopping.cancelled() => break,
        }
    }
    early.drain(..).for_each(carry_out);
    // The last thing a screen asks is to keep its drafts.
    requests_rx.close();
    while let Some(request) = requests_rx.recv().await {
        carry_out(request.into());
    }
}

/// A reply that tells the end of a request that has a number, once nobody can answer it any more.
fn settling(reply: &Reply, number: Option<u64>) -> Reply {
    let Some(number) = number else { return Arc::clone(reply) };
    let open = Open { reply: Arc::clone(reply), number };
    Arc::new(move |inbound| open.answer(inbound))
}

/// A request that may still be answered.
struct Open {
    reply: Reply,
    number: u64,
}

impl Open {
    fn answer(&self, inbound: Inbound) -> bool {
        (self.reply)(inbound)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // A screen that is gone needs no answer.
        let _ = self.answer(Inbound::Settled(self.number));
    }
}

/// Hands a request to its service. Never waits.
fn dispatch(services: &Services, reloads: &Reloads, guest: &Guest, reply: &Reply, request: Request) {
    // The file of a screen in this process is its person's own, whatever may be changed otherwise.
    let is_own_file = matches!(request, Request::Export(_) | Request::StopExport) && guest.visitor.via == Via::Inside;
    if guest.visitor.readonly && request.changes() && !is_own_file {
        // A screen that is gone needs no answer.
        let _ =
            reply(Inbound::Failed("this screen is read-only (open it without `--readonly` to change things)".into()));
        return;
    }
    let user = &guest.visitor.user;
    let person = Actor::Person(user.clone());
    let reply = Arc::clone(reply);
    match request {
        Request::RunProbe(probe) => {
            if let Some(active) = active(services, "run the probe", &reply) {
                active.prober.run_now(&probe, person);
            }
        }
        Request::BurstProbe(probe) => {
            if let Some(active) = active(services, "burst the probe", &reply) {
                active.prober.burst(&probe, person);
            }
        }
        Request::AcknowledgeProbe(probe) => {
            if let Some(active) = active(services, "acknowledge the probe", &reply) {
                active.prober.acknowledge(&probe, person);
                // While nobody has chosen a row the key means the first red one: it must be said which it was.
                let _ = reply(Inbound::Done(format!("{ACKNOWLEDGED} `{}` until it is up", probe.name())));
            }
        }
        Request::Acknowledge { probe, sticky, until } => {
            if let Some(active) = active(services, "acknowledge the probe", &reply) {
                // The mark on the probe lasts until it is up; one that ends before is on its alerts alone.
                if until.is_none() {
                    active.prober.acknowledge(&probe, person);
                }
                let until_when = match (until, sticky) {
                    (Some(at), _) => format!("{at:.0}"),
                    (None, true) => "it is fine".to_string(),
                    (None, false) => "it turns to something else".to_string(),
                };
                let done = format!("{ACKNOWLEDGED} `{}` until {until_when}", probe.name());
                let ack = Acknowledgement { by: user.clone(), at: clock::now(), sticky, until };
                decide(services, "acknowledge the probe", AlertFact::Acknowledged { probe, ack }, done, user, &reply);
            }
        }
        Request::Unacknowledge(probe) => {
            if let Some(active) = active(services, "take the acknowledgement back", &reply) {
                active.prober.forget_mark(&probe);
                let done = format!("{UNACKNOWLEDGED} `{}`: reminders go on", probe.name());
                let fact = AlertFact::Unacknowledged { probe, by: user.clone(), at: clock::now() };
                decide(services, "take the acknowledgement back", fact, done, user, &reply);
            }
        }
        Request::RunBackup(job) => {
            if let Some(active) = active(services, "run the backup", &reply) {
                active.backups.run(&job, person, reply);
            }
        }
        Request::VerifyBackup(run) => {
            if let Some(active) = active(services, "verify the backup", &reply) {
                active.backups.verify(&run, person, reply);
            }
        }
        Request::Silence(mut silence) => {
            // A screen does not know who sits at it.
            silence.by.clone_from(user);
            let done = format!("{SILENCED} {} until {:.0}", silence.what(), silence.until);
            decide(services, "silence", AlertFact::Silenced(*silence), done, user, &reply);
        }
        Request::Unsilence(id) => {
            let fact = AlertFact::Unsilenced { id, by: user.clone(), at: clock::now() };
            decide(services, "end the silence", fact, "silence ended".into(), user, &reply);
        }
        Request::Maintain(mut maintenance) => {
            maintenance.by.clone_from(user);
            let when = match &maintenance.window {
                MaintenanceWindow::Once { from, until } if *from <= clock::now() => format!("until {until:.0}"),
                MaintenanceWindow::Once { from, until } => format!("from {from:.0} until {until:.0}"),
                MaintenanceWindow::Recurring { .. } => format!("by the name `{}`", maintenance.name),
            };
            let done = format!("{MAINTAINED} {} {when}", maintenance.what());
            decide(services, "plan the maintenance", AlertFact::Maintained(*maintenance), done, user, &reply);
        }
        Request::EndMaintenance(name) => {
            let done = format!("maintenance `{name}` ended");
            let fact = AlertFact::MaintenanceEnded { name, by: user.clone(), at: clock::now() };
            decide(services, "end the maintenance", fact, done, user, &reply);
        }
        Request::History(request) => history(services, *request, &reply),
        Request::Past(request) => services.past.ask(request, reply),
        Request::Explain(request) => explain(services, request, &reply),
        Request::TestNotifier(name) => {
            if let Some(keeper) = holder(services.keeper.get(), "test the notifier", &reply) {
                keeper.outbox.test(&name, user, reply);
            }
        }
        request @ (Request::Declare(_)
        | Request::Note(_)
        | Request::Pin(_)
        | Request::ChangeIncident(..)
        | Request::SaveDocument { .. }
        | Request::LoadDocument(_)
        | Request::SaveDraft { .. }
        | Request::SaveNoteDraft(_)
        | Request::LoadNoteDraft) => {
            let asker = Asker { screen: guest.screen, user: user.clone() };
            services.incidents.ask(asker, request, reply);
        }
        Request::Window(window) => services.logs.request(guest.screen, *window, reply),
        Request::Export(export) => {
            tracing::info!("{user} writes log records into a file: {}", crate::domain::sanitise::text(&export.path));
            services.logs.export(*export, reply);
        }
        Request::StopExport => services.logs.stop_export(),
        Request::ReloadConfig => reloads.ask(person, reply),
        Request::Attend(spot) => {
            // Where somebody looks is news only as long as nothing else is.
            services.facts.try_send_as(person, Fact::Presence(PresenceFact::Moved { screen: guest.screen, spot }));
        }
        // What links the screen does that.
        Request::LetGo | Request::Reattach => {}
        Request::TakeOver => {
            let _ = reply(Inbound::Failed("could not take over: a runtime watches this host already".into()));
        }
    }
}

fn active<'a>(services: &'a Services, what: &str, reply: &Reply) -> Option<&'a Active> {
    let active = services.active.get();
    if active.is_none() && services.keeper.get().is_some() {
        let _ = reply(Inbound::Failed(format!("could not {what} yet: hotseat is starting (ask again)")));
        return None;
    }
    holder(active, what, reply)
}

/// What only the holder of the state directory has, or a word about it.
fn holder<'a, T>(it: Option<&'a T>, what: &str, reply: &Reply) -> Option<&'a T> {
    if it.is_none() {
        // A screen that is gone needs no answer.
        let _ = reply(Inbound::Failed(format!(
            "could not {what}: another hotseat on this host does that (leave it, or use its screen)"
        )));
    }
    it
}

/// Passes on what a person decided about alerts; who asked is told that it was done, or why not.
fn decide(services: &Services, what: &str, fact: AlertFact, done: String, user: &str, reply: &Reply) {
    if holder(services.keeper.get(), what, reply).is_none() {
        return;
    }
    let person = Actor::Person(user.to_string());
    let answer = if services.facts.try_send_as(person, Fact::Alert(fact)) {
        Inbound::Done(done)
    } else {
        Inbound::Failed(format!("could not {what}: too much happens at once (ask again)"))
    };
    let _ = reply(answer);
}

/// Answers why a probe was paged or not: what the board knows, and of the history what it has forgotten.
fn explain(services: &Services, request: ExplainRequest, reply: &Reply) {
    let mut explanation = {
        let board = services.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.alerts.explain(clock::now(), &board.probes, &request)
    };
    let (answer, unread) = (Arc::clone(reply), explanation.clone());
    let asked = services.history.get().is_some_and(|it| {
        it.ask(move |reader| {
            // Without the history the board's own knowledge is the answer.
            if let Err(error) = explain::complete(&mut explanation, reader) {
                tracing::warn!("could not read the history: {error}");
            }
            let _ = answer(Inbound::Explanation(Box::new(explanation)));
        })
    });
    if !asked {
        let _ = reply(Inbound::Explanation(Box::new(unread)));
    }
}

/// Has a probe's past read and answered.
fn history(services: &Services, request: HistoryRequest, reply: &Reply) {
    let answer = Arc::clone(reply);
    let asked = services.history.get().is_some_and(|it| {
        it.ask(move |reader| {
            let inbound = match reader.history(&request) {
                Ok(history) => Inbound::History(Box::new(history)),
                Err(error) => Inbound::Failed(format!("could not read the history: {error}")),
            };
            let _ = answer(inbound);
        })
    });
    if !asked {
        let _ = reply(Inbound::Failed("could not read the history: it is busy (ask again)".into()));
    }
}

/// Carries out what the board asks of the world. Never waits.
pub fn perform(services: &Services, effect: Effect) {
    match effect {
        Effect::AppendMachineEntry { incident, entry } => services.incidents.append_machine(incident, entry),
        Effect::Record(sample) => {
            if let Some(store) = services.keeper.get().and_then(|it| it.store.as_ref()) {
                store.record(*sample);
            }
        }
        Effect::Commit(change) => {
            if let Some(keeper) = services.keeper.get() {
                keeper.outbox.submit(*change);
            }
        }
    }
}
