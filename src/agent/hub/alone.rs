//! The one host of a screen: everything passes through, but records that are written into a file are written here.
//!
//! Whoever watches a host may be another account: a file that it wrote would be that account's, and stand where that
//! account may write. What a screen only reads it may also keep, so that this asks for no more than pages of records.

use crate::agent::hub::{Hub, Member, export, start_as};
use crate::agent::reception::UNSENT;
use crate::clock;
use crate::domain::fact::Fact;
use crate::domain::request::{Inbound, Request};
use crate::runtime::Link;

/// Puts one host behind the link of a screen. Needs a tokio runtime around it.
pub fn start(member: Member) -> Link {
    start_as(vec![member], true)
}

/// True for a request that does not go to the one host as it is.
pub(super) fn is_ours(request: &Request) -> bool {
    matches!(request, Request::Export(_) | Request::StopExport)
}

impl Hub {
    /// Takes in what came of the one host.
    pub(super) fn heard_alone(&mut self, inbound: Inbound) {
        let Some(node) = self.nodes.first_mut() else { return };
        let is_page = match &inbound {
            Inbound::Host(news) => {
                node.way.clone_from(&news.way);
                false
            }
            Inbound::Snapshot(board) => {
                node.host.clone_from(&board.host);
                node.sources = board.logs.sources.iter().map(|it| (it.id.clone(), it.name.clone())).collect();
                false
            }
            Inbound::Fact(envelope) => {
                if let Fact::Log(fact) = &envelope.fact {
                    node.heed_log(fact);
                }
                false
            }
            Inbound::Failed(text) => text.starts_with(UNSENT) && self.export.as_ref().is_some_and(|it| it.awaits(0)),
            Inbound::Window(window) => window.view == export::VIEW,
            _ => false,
        };
        let is_there = node.is_there();
        let Some(export) = self.export.as_mut() else {
            // A page of an export that was stopped is nobody's.
            if !is_page {
                self.tell(inbound);
            }
            return;
        };
        export.mark(0, is_there, clock::timer());
        match inbound {
            Inbound::Window(window) if is_page => {
                if let Some(news) = export.take(0, *window, clock::timer()) {
                    self.end_export(news);
                }
            }
            _ if is_page => export.too_large(0),
            inbound => self.tell(inbound),
        }
    }
}
