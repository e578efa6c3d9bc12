//! Who is here: every screen with its person, since when, from where, and what they look at. Of several hosts, and of
//! one that is not reached, also how each is: in full, where the header has room for its beginning only.

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
use crate::widgets::wrap::{self, cut};

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
        let total = rows(model, model.theme(), room_of(model.size().0)).len();
        let room = usize::from(height(total, model.size().1)) - 2;
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
        let rows = rows(model, theme, room_of(screen.width));
        let outer = popup::centred(screen, WIDTH, height(rows.len(), screen.height));
        let title = ways::as_of(model).map_or_else(|| "who is here".to_string(), |it| format!("who was here, {it}"));
        let inner = popup::frame(theme, &title, outer, buf);
        let shown = self.scroll.window(rows.len(), usize::from(inner.height));
        for (row, line) in inner.rows().zip(rows.iter().skip(shown.start)) {
            buf.set_line(row.x, row.y, line, row.width);
        }
        None
    }
}

/// Columns inside the box on a screen of so many.
fn room_of(screen: u16) -> usize {
    usize::from(WIDTH.min(screen).saturating_sub(4))
}

fn height(rows: usize, screen: u16) -> u16 {
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    rows.saturating_add(2).clamp(3, screen.saturating_sub(2).max(3))
}

fn rows(model: &Model, theme: &Theme, width: usize) -> Vec<Line<'static>> {
    let presence = &model.board.presence;
    let name = presence.iter().map(|(_, it)| sanitise::text(&it.visitor.user).width()).max().unwrap_or_default();
    let mut rows: Vec<Line<'static>> =
        presence.iter().map(|it| line(model, theme, it, name.min(NAME_COLUMNS), width)).collect();
    if rows.is_empty() {
        let text = "nobody: this screen is not attached to a runtime";
        rows.push(Line::styled(text, theme.style(Role::TextDim)));
    }
    let hosts = ways::each_in_full(model);
    if !hosts.is_empty() {
        rows.push(Line::default());
    }
    for host in hosts {
        let lines = wrap::wrap_at_blanks(&sanitise::text(&host), width);
        rows.extend(lines.into_iter().map(|it| Line::styled(it, theme.style(Role::Text))));
    }
    rows
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
