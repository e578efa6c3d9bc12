//! The first rows: what is red and which went first, the open incident, a banner.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::model::Model;
use crate::app::summary;
use crate::domain::format::clock_short;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::wrap::cut;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut rows = area.rows();
    let Some(first) = rows.next() else { return };
    buf.set_style(first, theme.style(Role::Header));
    let line = Line::from(Span::styled(" hotseat ", theme.style(Role::HeaderStrong)));
    buf.set_line(first.x, first.y, &line, first.width);
    let clock = clock_short(model.now, &model.zone);
    let x = first.right().saturating_sub(clock.width() as u16 + 1).max(first.x);
    buf.set_stringn(x, first.y, &clock, usize::from(first.width), theme.style(Role::Header));
    if let (Some(row), Some(text)) = (rows.next_back(), summary::banner(model)) {
        let style = theme.style(Role::NoticeWarn);
        buf.set_style(row, style);
        let text = cut(&format!(" ! {}", sanitise::text(&text)), usize::from(row.width), theme.ascii);
        buf.set_string(row.x, row.y, text, style);
    }
}
