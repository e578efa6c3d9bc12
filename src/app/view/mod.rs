//! The screen as a picture of the model: header, panes, footer, overlays. Changes nothing.

mod footer;
mod header;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::layout::PaneArea;
use crate::app::model::Model;
use crate::app::ways;
use crate::panes::PaneId;
use crate::theme::Theme;
use crate::theme::role::Role;

/// What the terminal must know beside the cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Where the cursor stands; hidden when `None`.
    pub cursor: Option<Position>,
    /// Whole rows that are likely to move as a block.
    pub scroll_areas: Vec<Rect>,
}

/// Draws the model into a buffer of the model's size.
pub fn view(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) -> View {
    buf.set_style(area, theme.style(Role::Text));
    let areas = model.areas();
    let mut view = View::default();
    header::draw(model, theme, areas.header, buf);
    for separator in &areas.separators {
        for cell in separator.positions() {
            buf.set_string(cell.x, cell.y, if theme.ascii { "|" } else { "│" }, theme.style(Role::Border));
        }
    }
    for it in &areas.panes {
        title(model, theme, it, buf);
        let cursor = model.panes.view(it.pane, &model.context(it.pane), theme, it.body, buf);
        if it.pane == model.focus {
            view.cursor = cursor;
        }
        if it.body.width == area.width && it.pane == PaneId::Logs && model.overlays.is_empty() {
            view.scroll_areas.push(it.body);
        }
    }
    let cursor = footer::draw(model, theme, areas.footer, buf);
    view.cursor = cursor.or(view.cursor);
    for overlay in &model.overlays {
        // An overlay takes the cursor even when it has no place for it: it has the keys.
        view.cursor = overlay.view(model, theme, area, buf);
    }
    view
}

/// `─ SERVICES red first (6 red, 2 slow, 33 ok) ──────[1]─`
fn title(model: &Model, theme: &Theme, area: &PaneArea, buf: &mut Buffer) {
    let row = area.title;
    if row.is_empty() {
        return;
    }
    let focused = model.focus == area.pane;
    let style = theme.style(if focused { Role::TitleFocused } else { Role::Title });
    let rule = if theme.ascii { "-" } else { "─" };
    let fill = |from: u16, to: u16, buf: &mut Buffer| {
        for x in from..to {
            buf.set_string(x, row.y, rule, theme.style(Role::Border));
        }
    };
    fill(row.x, row.right().min(row.x + 1), buf);
    let number = PaneId::ALL.iter().position(|it| *it == area.pane).map_or(0, |at| at + 1);
    let tag = if model.is_zoomed() { format!("[{number} zoomed]") } else { format!("[{number}]") };
    let tag_width = tag.len() as u16;
    let tag_x = row.right().saturating_sub(tag_width + 1).max(row.x);
    buf.set_stringn(tag_x, row.y, &tag, tag_width as usize, style);
    let room = tag_x.saturating_sub(row.x + 2);
    let mut line = Line::from(Span::styled(format!(" {} ", area.pane.title()), style));
    let as_of = ways::as_of(model).unwrap_or_default();
    // A blank before and behind, and two after how old it is.
    let taken = line.width() + 2 + if as_of.is_empty() { 0 } else { as_of.width() + 2 };
    let about_room = usize::from(room).saturating_sub(taken);
    let mut about = model.panes.title(area.pane, &model.context(area.pane), theme, about_room);
    if !as_of.is_empty() {
        let gap = if about.width() > 0 { "  " } else { "" };
        about.spans.insert(0, Span::styled(format!("{as_of}{gap}"), theme.style(Role::NoticeWarn)));
    }
    if theme.ascii {
        for span in &mut about.spans {
            span.content = span.content.replace('·', "|").into();
        }
    }
    if about.width() > 0 {
        line.push_span(Span::raw(" "));
        line.spans.extend(about.spans);
        line.push_span(Span::raw(" "));
    }
    let (end, _) = buf.set_line(row.x + 1, row.y, &line, room);
    fill(end, tag_x, buf);
    fill(tag_x + tag_width, row.right(), buf);
    // A title that was cut must not touch the tag.
    if line.width() > usize::from(room) && end > row.x {
        buf.set_string(end.saturating_sub(1), row.y, if theme.ascii { "~" } else { "…" }, theme.style(Role::TextDim));
    }
}
