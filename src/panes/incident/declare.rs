//! The form that declares an incident: two keys when the proposal is right.

use jiff::Timestamp;

use crate::app::effect::{Effect, Notice};
use crate::domain::board::Board;
use crate::domain::incident::{DeclareRequest, Severity};
use crate::domain::key::{Key, KeyCode};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::incident::{IncidentPane, Mode};
use crate::widgets::input::LineInput;

/// What will be declared.
#[derive(Debug)]
pub(super) struct DeclareForm {
    pub(super) title: LineInput,
    pub(super) severity: Severity,
    /// When the first red probe went red.
    pub(super) impact_start: Option<Timestamp>,
    /// The keys `1` to `4` choose the severity instead of being typed.
    pub(super) on_severity: bool,
}

impl DeclareForm {
    /// Proposes the first red probe as title and its beginning as the impact's.
    pub(super) fn proposed(board: &Board) -> Self {
        let first = board.first_red().and_then(|id| board.probes.get(id).map(|state| (id, state)));
        let mut form =
            Self { title: LineInput::default(), severity: Severity::Sev2, impact_start: None, on_severity: false };
        if let Some((id, state)) = first {
            let text = state.why().map_or_else(|| "down".to_string(), |it| it.brief.clone());
            form.title.propose(&sanitise::text(&format!("{} {text}", id.name())));
            form.impact_start = state.since();
        }
        form
    }
}

impl IncidentPane {
    pub(super) fn declare_key(&mut self, key: &Key) -> Vec<Effect> {
        let Mode::Declare(form) = &mut self.mode else { return Vec::new() };
        let step = |form: &mut DeclareForm, by: i8| {
            let number = form.severity.number().saturating_add_signed(by);
            form.severity = Severity::from_number(number).unwrap_or(form.severity);
        };
        match key.code {
            KeyCode::Esc => self.mode = Mode::Reading,
            KeyCode::Tab | KeyCode::BackTab => form.on_severity = !form.on_severity,
            KeyCode::Up => step(form, -1),
            KeyCode::Down => step(form, 1),
            KeyCode::Enter => {
                let title = form.title.text().trim().to_string();
                if title.is_empty() {
                    return vec![Notice::warn("an incident needs a title: what do users see?")];
                }
                let request = DeclareRequest { title, severity: form.severity, impact_start: form.impact_start };
                self.mode = Mode::Reading;
                // The new incident is what a person wants to see next.
                self.chosen = None;
                self.selected = None;
                return vec![Effect::Request(Request::Declare(request))];
            }
            _ => {
                let number = key.typed().and_then(|it| it.to_digit(10)).and_then(|it| u8::try_from(it).ok());
                match number.and_then(Severity::from_number).filter(|_| form.on_severity) {
                    Some(severity) => form.severity = severity,
                    None => {
                        form.on_severity = false;
                        form.title.key(key);
                    }
                }
            }
        }
        Vec::new()
    }
}
