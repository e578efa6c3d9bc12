//! Several hosts behind the one link of a screen.
//!
//! Facts and snapshots pass through; a request goes to the host that its ids name, one without an id to the first
//! host, and what holds everywhere, as a silence does, to all. A request for log rows is split: each host searches its
//! own files, and only the rows and counts it finds come back, to be merged in `windows.rs`.

pub mod alone;
mod export;
mod pasts;
mod route;
mod together;
mod windows;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::agent::hub::export::{Export, Wrote};
use crate::agent::hub::pasts::{Next, Pasts};
use crate::agent::hub::route::Route;
use crate::agent::hub::together::Together;
use crate::agent::hub::windows::Windows;
use crate::agent::reception::UNSENT;
use crate::clock;
use crate::domain::export::{ExportNews, ExportRequest};
use crate::domain::fact::Fact;
use crate::domain::host::{Again, HostNews, Way};
use crate::domain::ids::{HostId, IncidentId, SourceId};
use crate::domain::incident::IncidentFact;
use crate::domain::log::{LogFact, Position};
use crate::domain::past::FAILED;
use crate::domain::request::{Inbound, Request};
use crate::domain::sanitise;
use crate::runtime::{LINK_INBOUND_MAX, LINK_REQUESTS_MAX, Link};

/// Hosts of one screen: each has a process of `ssh`, and a header names them.
pub const HOSTS_MAX: usize = 64;
/// What came of the hosts and waits for the screen; past that they wait, and their own queues throw away what is old.
const OUTBOX_MAX: usize = 64;
/// What the file of an export says and was not heard yet: a word a batch, and the end.
const WROTE_MAX: usize = 4;
/// What an unfinished file gets to be removed in when the screen is gone.
const REMOVAL_WAIT: Duration = Duration::from_millis(300);

/// A host of a screen.
pub struct Member {
    /// What it is called on the command line; its ids may have another name.
    pub called: HostId,
    /// The way there. It outlives losses and says of them.
    pub link: Link,
}

/// Puts several hosts behind one link. Needs a tokio runtime around it.
///
/// The first member takes what no id names: new incidents, the log-book, drafts.
pub fn start(members: Vec<Member>) -> Link {
    start_as(members, false)
}

fn start_as(members: Vec<Member>, is_alone: bool) -> Link {
    let (inbound_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
    let (requests_tx, requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
    // One each in hand: what waits behind them is replaced by something newer where it is.
    let (heard_tx, heard_rx) = mpsc::channel(members.len().max(1));
    let mut nodes = Vec::new();
    for (index, Member { called, link }) in members.into_iter().enumerate() {
        let Link { mut facts_rx, requests_tx } = link;
        let heard_tx = heard_tx.clone();
        tokio::spawn(async move {
            while let Some(inbound) = facts_rx.recv().await {
                if heard_tx.send((index, inbound)).await.is_err() {
                    return;
                }
            }
        });
        nodes.push(Node {
            called,
            host: None,
            requests_tx: Some(requests_tx),
            way: Way::Connecting,
            sources: BTreeMap::new(),
            incidents: BTreeSet::new(),
        });
    }
    let (wrote_tx, wrote_rx) = mpsc::channel(WROTE_MAX);
    let hub = Hub {
        windows: Windows::new(),
        pasts: Pasts::default(),
        together: Together::default(),
        export: None,
        exports: 0,
        wrote_tx,
        nodes,
        outbox: VecDeque::new(),
        is_gone: false,
        is_alone,
    };
    tokio::spawn(hub.run(inbound_tx, requests_rx, heard_rx, wrote_rx));
    Link { facts_rx, requests_tx }
}

/// A host as the hub sees it.
struct Node {
    called: HostId,
    /// Its name in ids, once it has said it.
    host: Option<HostId>,
    /// `None` once it turned out to be one that cannot be shown beside the others.
    requests_tx: Option<mpsc::Sender<Request>>,
    way: Way,
    /// What its log sources are called.
    sources: BTreeMap<SourceId, String>,
    /// What it keeps.
    incidents: BTreeSet<IncidentId>,
}

impl Node {
    fn name(&self) -> &HostId {
        self.host.as_ref().unwrap_or(&self.called)
    }

    /// True when it can be asked now.
    fn is_there(&self) -> bool {
        self.host.is_some() && self.requests_tx.is_some() && matches!(self.way, Way::Inside | Way::Attached { .. })
    }

    /// Takes note of what its log sources are called.
    fn heed_log(&mut self, fact: &LogFact) {
        match fact {
            LogFact::Opened { source, name, .. } => {
                self.sources.insert(source.clone(), name.clone());
            }
            LogFact::Closed { source } => {
                self.sources.remove(source);
            }
            LogFact::Columns { .. }
            | LogFact::Grew { .. }
            | LogFact::Gap { .. }
            | LogFact::Doubt { .. }
            | LogFact::State { .. } => {}
        }
    }

    /// Why it cannot be asked, in words.
    fn absence(&self) -> String {
        match &self.way {
            Way::Lost { why, .. } => format!("lost: {why}"),
            Way::Refused { why, .. } => why.clone(),
            Way::Connecting | Way::Inside | Way::Attached { .. } => "not attached yet".to_string(),
        }
    }
}

struct Hub {
    nodes: Vec<Node>,
    windows: Windows,
    pasts: Pasts,
    together: Together,
    /// The one that is under way.
    export: Option<Export>,
    /// How many were begun.
    exports: u64,
    wrote_tx: mpsc::Sender<(u64, Wrote)>,
    /// What goes to the screen next.
    outbox: VecDeque<Inbound>,
    /// The screen reads no more; what it asked is still handed on.
    is_gone: bool,
    /// The screen is one of this one host: all but exports passes through.
    is_alone: bool,
}

impl Hub {
    async fn run(
        mut self,
        inbound_tx: mpsc::Sender<Inbound>,
        mut requests_rx: mpsc::Receiver<Request>,
        mut heard_rx: mpsc::Receiver<(usize, Inbound)>,
        mut wrote_rx: mpsc::Receiver<(u64, Wrote)>,
    ) {
        if !self.is_alone {
            for index in 0..self.nodes.len() {
                self.say_way(index);
            }
        }
        loop {
            self.show_windows();
            self.show_past();
            self.go_on_exporting();
            for inbound in self.together.go_on(clock::timer(), &self.nodes) {
                self.tell(inbound);
            }
            let exporting = self.export.as_ref().and_then(Export::deadline);
            let deadlines = [self.windows.deadline(), self.pasts.deadline(), self.together.deadline(), exporting];
            let deadline = deadlines.into_iter().flatten().min();
            let late = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = requests_rx.recv() => match request {
                    Some(request) => self.asked(request),
                    None => break,
                },
                permit = inbound_tx.reserve(), if !self.outbox.is_empty() => match (permit, self.outbox.pop_front()) {
                    (Ok(permit), Some(inbound)) => permit.send(inbound),
                    _ => {
                        self.is_gone = true;
                        self.outbox.clear();
                    }
                },
                Some((index, inbound)) = heard_rx.recv(), if self.outbox.len() < OUTBOX_MAX => {
                    self.heard(index, inbound);
                }
                Some((number, wrote)) = wrote_rx.recv(), if self.outbox.len() < OUTBOX_MAX => {
                    self.wrote(number, wrote);
                }
                () = late => {}
            }
        }
        if let Some(export) = self.export.take() {
            let number = export.number;
            drop(export);
            let is_over = |it: Option<(u64, Wrote)>| {
                it.is_none_or(|(of, wrote)| of == number && matches!(wrote, Wrote::Ended(_)))
            };
            let removed = async { while !is_over(wrote_rx.recv().await) {} };
            // A disk that hangs must not keep the terminal.
            let _ = timeout(REMOVAL_WAIT, removed).await;
        }
    }

    /// Puts the newest windows out, once what went before them is: a slow screen gets fewer, not older ones.
    fn show_windows(&mut self) {
        if self.outbox.is_empty() && !self.is_gone {
            let Self { windows, nodes, outbox, .. } = self;
            let asked = windows.go_on(clock::timer(), nodes);
            outbox.extend(windows.news(nodes).into_iter().map(|it| Inbound::Window(Box::new(it))));
            for (index, request) in asked {
                self.ask(index, Request::Window(Box::new(request)));
            }
        }
    }

    fn show_past(&mut self) {
        while let Some(next) = self.pasts.go_on(clock::timer(), &self.nodes) {
            self.go_past(next);
        }
    }

    fn go_past(&mut self, next: Next) {
        match next {
            Next::Ask(asked) => asked.into_iter().for_each(|(index, it)| self.ask(index, Request::Past(it))),
            Next::Tell(past) => self.tell(Inbound::Past(past)),
            Next::Nobody => self.tell(Inbound::Failed(format!("{FAILED}: no host answers"))),
        }
    }

    /// Asks for what the export that is under way needs next.
    fn go_on_exporting(&mut self) {
        let Some(export) = &mut self.export else { return };
        let now = clock::timer();
        let todo = export.go_on(now, &self.nodes);
        for (index, request) in todo.asked {
            let request = Request::Window(Box::new(request));
            let sent = self.nodes[index].requests_tx.as_ref().is_some_and(|it| it.try_send(request).is_ok());
            if !sent {
                export.unasked(index, now);
            }
        }
        if let Some(news) = todo.ended {
            self.end_export(news);
        }
    }

    fn wrote(&mut self, number: u64, wrote: Wrote) {
        let Some(export) = self.export.as_mut().filter(|it| it.number == number) else { return };
        match export.wrote(clock::timer(), wrote) {
            None => {}
            Some(news @ ExportNews::Writing { .. }) => self.tell(Inbound::Export(news)),
            Some(news) => self.end_export(news),
        }
    }

    /// Nothing is left of the file unless all of it is there.
    fn end_export(&mut self, news: ExportNews) {
        self.export = None;
        self.tell(Inbound::Export(news));
    }

    fn tell(&mut self, inbound: Inbound) {
        if !self.is_gone {
            self.outbox.push_back(inbound);
        }
    }

    fn say_way(&mut self, index: usize) {
        let node = &self.nodes[index];
        let news = HostNews { host: node.name().clone(), way: node.way.clone() };
        self.tell(Inbound::Host(Box::new(news)));
    }

    /// Takes in what came of a host.
    fn heard(&mut self, index: usize, inbound: Inbound) {
        if self.is_alone {
            return self.heard_alone(inbound);
        }
        if self.nodes[index].requests_tx.is_none() {
            return;
        }
        let named = |hub: &Self, text: &str| match hub.nodes.len() {
            1 => text.to_string(),
            _ => format!("{}: {text}", sanitise::text(hub.nodes[index].name().as_str())),
        };
        let Some(inbound) = self.together.take(index, inbound) else { return };
        match inbound {
            Inbound::Host(news) => {
                self.nodes[index].way = news.way;
                let is_there = self.nodes[index].is_there();
                self.windows.mark(index, is_there, clock::now());
                if !is_there {
                    self.pasts.give_up(index, "lost");
                }
                if let Some(export) = &mut self.export {
                    export.mark(index, is_there, clock::timer());
                }
                self.say_way(index);
            }
            Inbound::Snapshot(board) => {
                if let Some(host) = &board.host
                    && !self.learn_name(index, host.clone())
                {
                    return;
                }
                let named = board.logs.sources.iter().map(|it| (it.id.clone(), it.name.clone()));
                self.nodes[index].sources = named.collect();
                self.nodes[index].incidents = board.incidents.incidents.iter().map(|it| it.id.clone()).collect();
                let is_there = self.nodes[index].is_there();
                if let Some(export) = &mut self.export {
                    export.mark(index, is_there, clock::timer());
                }
                self.tell(Inbound::Snapshot(board));
                // What the screen looks at is asked of one that has just come, or come back.
                if is_there {
                    for request in self.windows.ask_again(index, &self.nodes) {
                        self.ask(index, Request::Window(Box::new(request)));
                    }
                }
            }
            Inbound::Window(window) if window.view == export::VIEW => {
                let now = clock::timer();
                if let Some(news) = self.export.as_mut().and_then(|it| it.take(index, *window, now)) {
                    self.end_export(news);
                }
            }
            Inbound::Window(window) => self.windows.take(index, *window),
            Inbound::Fact(envelope) => {
                let node = &mut self.nodes[index];
                match &envelope.fact {
                    Fact::Log(fact) => node.heed_log(fact),
                    Fact::Incident(IncidentFact::Loaded(it)) => drop(node.incidents.insert(it.id.clone())),
                    Fact::Incident(IncidentFact::Removed { incident }) => drop(node.incidents.remove(incident)),
                    _ => {}
                }
                self.tell(Inbound::Fact(envelope));
            }
            Inbound::Past(past) if self.nodes.len() > 1 => self.pasts.take(index, *past),
            Inbound::Done(text) => self.tell(Inbound::Done(named(self, &text))),
            Inbound::Failed(text) if text.starts_with(FAILED) && self.nodes.len() > 1 => {
                self.pasts.give_up(index, "could not read it");
                self.tell(Inbound::Failed(named(self, &text)));
            }
            Inbound::Failed(text)
                if text.starts_with(UNSENT) && self.export.as_ref().is_some_and(|it| it.awaits(index)) =>
            {
                if let Some(export) = &mut self.export {
                    export.too_large(index);
                }
            }
            Inbound::Failed(text) => self.tell(Inbound::Failed(named(self, &text))),
            Inbound::Refused { request, error } => {
                self.tell(Inbound::Refused { request, error: named(self, &error) });
            }
            // What speaks of its host by itself.
            other => self.tell(other),
        }
    }

    /// Takes note of a host's own name. `false` when another host has it: then it cannot be shown.
    fn learn_name(&mut self, index: usize, host: HostId) -> bool {
        if self.nodes[index].host.as_ref() == Some(&host) {
            return true;
        }
        let twin = self.nodes.iter().enumerate().find(|(at, it)| *at != index && it.host.as_ref() == Some(&host));
        if let Some((_, twin)) = twin {
            let why = format!(
                "`{}` calls itself `{host}`, as `{}` does (is it the same host? else set `[host] name` in its config, restart its agent and open the screen anew)",
                self.nodes[index].called, twin.called
            );
            let way = Way::Refused { since: clock::now(), why, again: Again::Never };
            let news = HostNews { host: self.nodes[index].called.clone(), way };
            let node = &mut self.nodes[index];
            node.way.clone_from(&news.way);
            node.requests_tx = None;
            // Of two that were called alike the one that is there is what that name shows.
            if news.host != host {
                self.tell(Inbound::Host(Box::new(news)));
            } else if let Way::Refused { why, .. } = news.way {
                self.tell(Inbound::Failed(why));
            }
            return false;
        }
        let was = self.nodes[index].name().clone();
        self.nodes[index].host = Some(host.clone());
        if was != host {
            self.tell(Inbound::HostNamed { was, host });
            // Another host may be called as this one was.
            for index in 0..self.nodes.len() {
                if self.nodes[index].requests_tx.is_some() {
                    self.say_way(index);
                }
            }
        }
        true
    }

    /// Hands a request to those whom it is for.
    fn asked(&mut self, request: Request) {
        if self.is_alone && !alone::is_ours(&request) {
            return self.ask(0, request);
        }
        match route::of(&request) {
            Route::Host(host) => self.ask_named(&host, request),
            Route::Incident(incident) => {
                let keeps = |it: &&usize| self.nodes[**it].incidents.contains(&incident);
                let is_named = |it: &&usize| self.nodes[**it].name().as_str() == incident.host();
                let keepers: Vec<usize> = (0..self.nodes.len()).filter(|it| keeps(&it)).collect();
                match keepers.iter().find(is_named).or(keepers.first()) {
                    Some(index) => self.ask(*index, request),
                    None => self.ask_named(incident.host(), request),
                }
            }
            // One that is not shown at all takes nothing.
            Route::First => {
                let first = self.nodes.iter().position(|it| it.requests_tx.is_some()).unwrap_or(0);
                self.ask(first, request);
            }
            Route::Past(_) if self.nodes.len() == 1 => self.ask(0, request),
            Route::Past(past) => {
                let next = self.pasts.begin(clock::timer(), past, &self.nodes);
                self.go_past(next);
            }
            Route::All => {
                let asked: Vec<usize> =
                    (0..self.nodes.len()).filter(|it| self.nodes[*it].requests_tx.is_some()).collect();
                // Where somebody looks is not answered.
                if asked.len() > 1 && request.changes() {
                    let before = self.together.begin(clock::timer(), asked.clone(), &self.nodes);
                    before.into_iter().for_each(|it| self.tell(it));
                }
                asked.into_iter().for_each(|index| self.ask(index, request.clone()));
            }
            Route::Notifier(name) => {
                let of_host = |(index, it): (usize, &Node)| {
                    let own = name.strip_prefix(it.name().as_str())?.strip_prefix(':')?;
                    Some((index, own.to_string()))
                };
                let (index, own) = self.nodes.iter().enumerate().find_map(of_host).unwrap_or((0, name.clone()));
                self.ask(index, Request::TestNotifier(own));
            }
            Route::Window(window) => {
                for (index, request) in self.windows.begin(clock::timer(), clock::now(), *window, &self.nodes) {
                    self.ask(index, Request::Window(Box::new(request)));
                }
            }
            Route::Export(request) => self.begin_export(*request),
            Route::StopExport if self.export.is_some() => self.end_export(ExportNews::Stopped),
            Route::StopExport => (0..self.nodes.len()).for_each(|index| self.ask(index, Request::StopExport)),
            Route::TakeOver => {
                let may = |it: &Node| matches!(it.way, Way::Lost { can_take_over: true, .. });
                match self.nodes.iter().position(may) {
                    Some(index) => self.ask(index, request),
                    None => self.tell(Inbound::Failed(
                        "could not take over: only this host can be watched from here, and it is".into(),
                    )),
                }
            }
            Route::Away => {
                let is_away = |it: &Node| matches!(it.way, Way::Lost { .. } | Way::Refused { .. });
                let away: Vec<usize> = (0..self.nodes.len()).filter(|it| is_away(&self.nodes[*it])).collect();
                away.into_iter().for_each(|it| self.ask(it, request.clone()));
            }
        }
    }

    /// Begins to write the records of all hosts that are meant into a file here.
    fn begin_export(&mut self, request: ExportRequest) {
        if self.export.is_some() {
            let text = "another export is being written: wait for it, or Esc stops it";
            return self.tell(Inbound::Export(ExportNews::Failed(text.into())));
        }
        let is_meant = |it: &Node| {
            let host = it.name().as_str();
            request.sources.is_empty() || request.sources.iter().any(|it| it.host() == host)
        };
        let meant: Vec<usize> = (0..self.nodes.len()).filter(|it| is_meant(&self.nodes[*it])).collect();
        // What runs in this process writes here as well, and straight from the files.
        if let [index] = meant.as_slice()
            && self.nodes[*index].way == Way::Inside
        {
            return self.ask(*index, Request::Export(Box::new(request)));
        }
        let time_of = |it: &Option<Position>| it.as_ref().and_then(|it| it.time.or_else(|| self.windows.clock_of(it)));
        let ends = (time_of(&request.from), time_of(&request.until));
        self.exports += 1;
        let export = Export::begin(self.exports, clock::timer(), request, ends, &self.nodes, self.wrote_tx.clone());
        self.export = Some(export);
    }

    /// Hands a request to the host of a name.
    fn ask_named(&mut self, host: &str, request: Request) {
        match self.nodes.iter().position(|it| it.name().as_str() == host) {
            Some(index) => self.ask(index, request),
            None => self.give_back(
                request,
                format!("not done: `{}` is none of the hosts of this screen", sanitise::text(host)),
            ),
        }
    }

    /// Hands a request to a host. Never waits for it.
    fn ask(&mut self, index: usize, request: Request) {
        let sent = match &self.nodes[index].requests_tx {
            Some(requests_tx) => requests_tx.try_send(request),
            None => Err(mpsc::error::TrySendError::Closed(request)),
        };
        if let Err(error) = sent {
            let (why, request) = match error {
                mpsc::error::TrySendError::Full(it) => ("too busy for that; ask again", it),
                mpsc::error::TrySendError::Closed(it) => ("the connection has ended", it),
            };
            let name = sanitise::text(self.nodes[index].name().as_str());
            self.give_back(request, format!("{name}: not done: {why}"));
        }
    }

    /// Says that a request goes to nobody; what a person wrote or decided comes back whole.
    fn give_back(&mut self, request: Request, error: String) {
        self.tell(if request.is_decision() {
            Inbound::Refused { request: Box::new(request), error }
        } else {
            Inbound::Failed(error)
        });
    }
}

#[cfg(test)]
mod tests;
