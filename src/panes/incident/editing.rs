//! The document in the editor: loading, drafts, saving, what others saved meanwhile.

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Effect, Notice};
use crate::domain::format;
use crate::domain::ids::IncidentId;
use crate::domain::key::{Key, KeyCode};
use crate::domain::request::Request;
use crate::panes::Context;
use crate::panes::incident::{IncidentPane, Mode};
use crate::widgets::editor::{Editor, Outcome};

/// Edits after which a draft is written at once.
const DRAFT_EDITS: u32 = 50;
/// How long an edit may stay in memory only.
const DRAFT_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// A document that is edited, visible or left with unsaved text.
#[derive(Debug, Default)]
pub(super) struct Editing {
    incident: Option<IncidentId>,
    // None until the text has come.
    editor: Option<Editor>,
    base_sha256: String,
    changed: bool,
    // The text that is on its way to the disk.
    saving: Option<String>,
    edits: u32,
    // The first edit that no draft holds.
    edited_at: Option<Timestamp>,
    pub(super) state: &'static str,
}

impl Editing {
    pub(super) fn is_loading(&self) -> bool {
        self.editor.is_none()
    }

    /// The text differs from what is on disk.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn editor(&self) -> Option<&Editor> {
        self.editor.as_ref()
    }

    pub(super) fn name(&self) -> String {
        self.incident.as_ref().map_or_else(|| "the log-book".into(), |it| it.name().to_string())
    }

    pub(super) fn fit(&mut self, cx: &Context<'_>) {
        if let Some(editor) = &mut self.editor {
            editor.fit(cx.width, text_height(cx));
        }
    }

    pub(super) fn save_failed(&mut self) {
        self.saving = None;
        self.state = "NOT SAVED";
    }

    /// When the draft must be written at the latest.
    pub(super) fn draft_due(&self) -> Option<Timestamp> {
        self.edited_at.and_then(|it| it.checked_add(DRAFT_AFTER).ok())
    }

    /// Asks to keep the unsaved text, when there is any that no draft holds.
    pub(super) fn draft(&mut self) -> Option<Request> {
        self.edited_at.take()?;
        self.edits = 0;
        let editor = self.editor.as_ref().filter(|_| self.changed)?;
        Some(Request::SaveDraft { incident: self.incident.clone(), text: editor.text() })
    }

    fn edited(&mut self, now: Timestamp) -> Vec<Effect> {
        self.changed = true;
        self.state = "changed";
        self.edits += 1;
        let since = *self.edited_at.get_or_insert(now);
        if self.edits < DRAFT_EDITS && now.duration_since(since) < DRAFT_AFTER {
            return Vec::new();
        }
        self.draft().into_iter().map(Effect::Request).collect()
    }
}

/// Rows for text: the last one says what is edited and whether it is saved.
pub(super) fn text_height(cx: &Context<'_>) -> u16 {
    cx.height.saturating_sub(1).max(1)
}

impl IncidentPane {
    /// Opens the incident's document, or comes back to the one that was left unsaved.
    pub fn open_editor(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.detail = None;
        self.mode = Mode::Editor;
        if self.editing.as_ref().is_some_and(Editing::is_changed) {
            return Vec::new();
        }
        let incident = self.target(cx);
        self.editing = Some(Editing { incident: incident.clone(), ..Editing::default() });
        vec![Effect::Request(Request::LoadDocument(incident))]
    }

    /// Takes the text back from `$EDITOR`.
    pub fn editor_closed(
        &mut self,
        cx: &Context<'_>,
        _incident: Option<IncidentId>,
        text: Result<String, String>,
    ) -> Vec<Effect> {
        let text = match text {
            Ok(text) => text,
            Err(error) => return vec![Notice::error(error)],
        };
        let Some((editing, editor)) = self.editing.as_mut().and_then(|it| it.editor.take().map(|editor| (it, editor)))
        else {
            return Vec::new();
        };
        let mut editor = editor;
        let same = editor.text() == text;
        if !same {
            editor.replace_all(&text, cx.now);
        }
        editor.fit(cx.width, text_height(cx));
        editing.editor = Some(editor);
        if same {
            return vec![Notice::info("nothing was changed")];
        }
        editing.edited(cx.now);
        self.mode = Mode::Editor;
        // What came from outside is saved at once: whoever saved there meant it.
        self.save()
    }

    pub(super) fn editor_key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        if key.code == KeyCode::Esc {
            return self.leave_editor();
        }
        let Some(editing) = &mut self.editing else { return Vec::new() };
        let Some(editor) = &mut editing.editor else { return Vec::new() };
        match (key.code, key.ctrl) {
            (KeyCode::Char('s'), true) => return self.save(),
            (KeyCode::Char('x'), true) => {
                let effect = Effect::OpenEditor { incident: editing.incident.clone(), text: editor.text() };
                return editing.draft().map(Effect::Request).into_iter().chain([effect]).collect();
            }
            _ => {}
        }
        match editor.key(key, cx.now, cx.width, text_height(cx)) {
            Outcome::Edited => editing.edited(cx.now),
            Outcome::Moved | Outcome::Ignored => Vec::new(),
        }
    }

    pub(super) fn editor_paste(&mut self, cx: &Context<'_>, text: &str) -> Vec<Effect> {
        let Some(editing) = &mut self.editing else { return Vec::new() };
        let Some(editor) = &mut editing.editor else { return Vec::new() };
        editor.paste(text, cx.now);
        editor.fit(cx.width, text_height(cx));
        editing.edited(cx.now)
    }

    /// Takes a document: what was asked for, or what became of a save.
    pub(super) fn document(
        &mut self,
        cx: &Context<'_>,
        incident: Option<&IncidentId>,
        text: &str,
        sha256: &str,
        draft: Option<&str>,
    ) -> Vec<Effect> {
        let Some(editing) = &mut self.editing else { return Vec::new() };
        let mut effects = Vec::new();
        match (editing.saving.take(), &mut editing.editor) {
            (Some(sent), Some(editor)) => {
                let now = editor.text();
                if let Some(both) = draft {
                    editor.replace_all(both, cx.now);
                    editor.move_to_line_beginning_with("<<<<<<<");
                    editing.base_sha256 = sha256.to_string();
                    editing.state = "CONFLICT";
                } else if now == sent {
                    if text != now {
                        // Merged with what others saved; undo shows the text before that.
                        editor.replace_all(text, cx.now);
                    }
                    editing.base_sha256 = sha256.to_string();
                    editing.changed = false;
                    editing.edited_at = None;
                    editing.state = "saved";
                } else if text == sent {
                    editing.base_sha256 = sha256.to_string();
                }
                // Else somebody typed on while it was merged: with the old base the next save merges again.
            }
            (_, slot @ None) => {
                editing.incident = incident.cloned();
                editing.base_sha256 = sha256.to_string();
                let mut editor = Editor::new(text);
                // What is written next comes behind what is there, never into the front matter.
                editor.move_to_end();
                if let Some(draft) = draft {
                    editor.replace_all(draft, cx.now);
                    let count = format::plural(draft.chars().count() as u64, "character");
                    effects.push(Notice::warn(format!(
                        "recovered unsaved text ({count}): ctrl-s saves it, ctrl-z shows the saved one"
                    )));
                    editing.changed = true;
                    editing.state = "recovered";
                }
                *slot = Some(editor);
            }
            (None, Some(_)) => {}
        }
        editing.fit(cx);
        effects
    }

    fn save(&mut self) -> Vec<Effect> {
        let Some(editing) = &mut self.editing else { return Vec::new() };
        let Some(editor) = &editing.editor else { return Vec::new() };
        if editing.saving.is_some() {
            return vec![Notice::info("the last save is still on its way")];
        }
        let text = editor.text();
        editing.saving = Some(text.clone());
        editing.state = "saving…";
        let base_sha256 = editing.base_sha256.clone();
        vec![Effect::Request(Request::SaveDocument { incident: editing.incident.clone(), text, base_sha256 })]
    }

    fn leave_editor(&mut self) -> Vec<Effect> {
        self.mode = Mode::Reading;
        let Some(editing) = &mut self.editing else { return Vec::new() };
        if !editing.changed {
            self.editing = None;
            return Vec::new();
        }
        let mut effects: Vec<Effect> = editing.draft().into_iter().map(Effect::Request).collect();
        effects.push(Notice::warn(format!(
            "the document of {} is not saved: kept as a draft, `I` comes back to it",
            editing.name()
        )));
        effects
    }
}
