//! Who is here: every screen with its person, since when, from where, and what they look at.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::app::people::word;
use crate::app::ways;
use crate::domain::format;
use crate::domain::key::{Key, KeyCode};
use crate::domain::presence::{Here, ScreenId, Via};
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::popup;
use crate::widgets::scroll::Scroll;
use crate::widgets::wrap::cut;

/// Columns of the box.
const WIDTH: u16 = 76;
/// Columns of a name.
const NAME_COLUMNS: usize = 20;

/// The state of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Who {
    scroll: Scroll,
}

impl Who {
    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        let (total, room) = (model.board.presence.len(), usize::from(height(model, model.size().1)) - 2);
        let step = match key.code {
            KeyCode::Char('j') | KeyCode::Down => 1,
            KeyCode::Char('k') | KeyCode::Up => -1,
            KeyCode::Char('g') | KeyCode::Home => i64::MIN,
            KeyCode::Char('G') | KeyCode::End => i64::MAX,
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '@') => return Answer::Close,
            _ => return Answer::Stay,
        };
        self.scroll.by(step, total, room);
        Answer::Stay
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let outer = popup::centred(screen, WIDTH, height(model, screen.height));
        let title = ways::as_of(model).map_or_else(|| "who is here".to_string(), |it| format!("who was here, {it}"));
        let inner = popup::frame(theme, &title, outer, buf);
        let presence = &model.board.presence;
        if presence.is_empty() {
            let text = "nobody: this screen is not attached to a runtime";
            buf.set_stringn(inner.x, inner.y, text, inner.width as usize, theme.style(Role::TextDim));
            return None;
        }
        let name = presence.iter().map(|(_, it)| sanitise::text(&it.visitor.user).width()).max().unwrap_or_default();
        let shown = self.scroll.window(presence.len(), usize::from(inner.height));
        for (row, (screen, here)) in inner.rows().zip(presence.iter().skip(shown.start)) {
            let line = line(model, theme, (screen, here), name.min(NAME_COLUMNS), usize::from(row.width));
            buf.set_line(row.x, row.y, &line, row.width);
        }
        None
    }
}

fn height(model: &Model, screen: u16) -> u16 {
    let rows = u16::try_from(model.board.presence.len()).unwrap_or(u16::MAX);
    rows.saturating_add(2).clamp(3, screen.saturating_sub(2).max(3))
}

fn line(
    model: &Model,
    theme: &Theme,
    (screen, here): (ScreenId, &Here),
    columns: usize,
    width: usize,
) -> Line<'static> {
    let visitor = &here.visitor;
    let mine = model.is_my_name(&visitor.user);
    // Of several hosts the numbers are those of the list.
    let is_this = !model.fleet.is_of_several() && model.you.values().any(|it| it.screen == screen);
    // What a person has several of is told apart by its number.
    let of_user = model.board.presence.iter().filter(|(_, it)| it.visitor.user == visitor.user).count();
    let user = cut(&sanitise::text(&visitor.user), columns, theme.ascii);
    let from = match &visitor.via {
        Via::Inside => "at the screen that keeps watch".to_string(),
        Via::Local => "on this host".to_string(),
        Via::Ssh(address) if address.is_empty() => "by ssh".to_string(),
        Via::Ssh(address) => format!("by ssh from {}", sanitise::text(address)),
    };
    // Of one name may be two people: then where each of them sits is told as well.
    let from = match visitor.seat.as_deref().filter(|_| of_user > 1).map(sanitise::text) {
        Some(seat) if visitor.via == Via::Local => format!("at {seat}"),
        Some(seat) => format!("{from} ({seat})"),
        None => from,
    };
    let mut words = vec![format!("since {}", format::moment(model.now, here.since, &model.zone)), from];
    words.extend(here.spot.map(|it| format!("looks at {}", word(it))));
    if visitor.readonly {
        words.push("read-only".to_string());
    }
    if of_user > 1 {
        words.insert(0, format!("screen {}{}", screen.0, if is_this { " (this one)" } else { "" }));
    }
    if mine && !(is_this && of_user > 1) {
        words.push("you".to_string());
    }
    let words = cut(&words.join(", "), width.saturating_sub(columns + 2), theme.ascii);
    Line::from(vec![
        Span::styled(
            format!("{user}{}  ", " ".repeat(columns.saturating_sub(user.width()))),
            theme.style(Role::TextStrong),
        ),
        Span::styled(words, theme.style(Role::Text)),
    ])
}
