//! Keys that move through the list: row by row, from one that is not well to the next, into groups and details.

use crate::app::effect::{Effect, Notice};
use crate::domain::probe::health::Health;
use crate::panes::Context;
use crate::panes::services::ServicesPane;
use crate::panes::services::rows::{Picked, Row};
use crate::widgets::scroll::{self, Scroll};

impl ServicesPane {
    pub(super) fn step(&mut self, cx: &Context<'_>, step: i64) {
        if let Some(mut scroll) = self.detail {
            let total = self.detail_rows(cx);
            scroll.by(step, total, cx.height as usize);
            self.detail = Some(scroll);
            return;
        }
        let rows = self.rows(cx);
        let Some(last) = rows.len().checked_sub(1) else { return };
        let at = match self.selected_at(cx, &rows) {
            Some(at) => (at as i64).saturating_add(step).clamp(0, last as i64) as usize,
            None => 0,
        };
        self.selected = rows.get(at).map(Row::picked);
        self.follow_selection(cx);
    }

    /// Goes to the next probe that is not well, also from one detail to the next.
    pub(super) fn step_red(&mut self, cx: &Context<'_>, forward: bool) -> Vec<Effect> {
        let probes = self.arrangement.in_rows(cx.board);
        let selected = self.selected(cx.board);
        let at = probes.iter().position(|(id, _)| Some(*id) == selected.as_ref()).unwrap_or_default();
        let count = probes.len();
        // Below a heading its first member comes next.
        let first = usize::from(!forward || self.selected_group(cx.board).is_none());
        let steps = first..first + count;
        let order = steps.map(|step| if forward { at + step } else { at + count - step } % count.max(1));
        let found = order.filter_map(|at| probes.get(at)).find(|(_, it)| it.health() != Health::Up);
        let Some((id, state)) = found else { return vec![Notice::info("everything is well")] };
        let group = state.setup.rules.group.clone().unwrap_or_default();
        self.selected = Some(Picked::Probe((*id).clone()));
        if self.arrangement.folded.get(&group) == Some(&true) {
            self.arrangement.folded.insert(group, false);
        }
        self.follow_selection(cx);
        if self.detail.is_none() {
            return Vec::new();
        }
        self.detail = Some(Scroll::default());
        self.ask_past(cx, false)
    }

    pub(super) fn fold(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let rows = self.rows(cx);
        let group = self.selected_at(cx, &rows).and_then(|at| match &rows[at] {
            // What was folded in part for want of room is opened first.
            Row::Group(it) => Some((it.name.to_string(), it.folded || it.is_short)),
            Row::Probe { state, below_group: true, .. } => {
                Some((state.setup.rules.group.clone().unwrap_or_default(), false))
            }
            Row::Probe { .. } => None,
        });
        let Some((name, folded)) = group else { return vec![Notice::info("there are no groups here")] };
        self.selected = Some(Picked::Group(name.clone()));
        self.arrangement.folded.insert(name, !folded);
        self.follow_selection(cx);
        Vec::new()
    }

    pub(super) fn fold_all(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if !self.arrangement.is_grouped(cx.board) {
            return vec![Notice::info("there are no groups here")];
        }
        let groups = self.arrangement.groups(cx.board, self.list_height(cx));
        let fold = groups.iter().any(|it| !it.folded);
        self.arrangement.folded = groups.iter().map(|it| (it.name.to_string(), fold)).collect();
        self.follow_selection(cx);
        Vec::new()
    }

    pub(super) fn follow_selection(&mut self, cx: &Context<'_>) {
        let rows = self.rows(cx);
        let Some(at) = self.selected_at(cx, &rows) else { return };
        let height = self.list_height(cx).max(1);
        // Nobody scrolled while nobody chose: as much as can be from the first row on.
        let top = if self.is_chosen(cx.board) { self.top } else { 0 };
        self.top = scroll::keep_visible(top, at, rows.len(), height);
        // The heading above the first row that is shown says whose probes these are.
        if at == 1 && self.top == 1 && height > 1 {
            self.top = 0;
        }
    }

    pub(super) fn open_detail(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.detail.take().is_some() {
            return Vec::new();
        }
        let rows = self.rows(cx);
        match self.selected_at(cx, &rows).map(|at| rows[at].picked()) {
            Some(Picked::Group(_)) => return self.fold(cx),
            Some(probe) => {
                // Held by id from here on: the detail must not change its probe when rows move.
                self.selected = Some(probe);
                self.detail = Some(Scroll::default());
                return self.ask_past(cx, false);
            }
            None => {}
        }
        Vec::new()
    }
}
