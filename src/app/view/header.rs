//! The first rows: what is red and which went first, the open incident, a banner.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::model::Model;
use crate::app::past::Band;
use crate::app::strip::{self, Strip};
use crate::app::summary::Piece;
use crate::app::ways;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::wrap::cut;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if let Some(band) = model.past_band() {
        let row = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
        past(theme, &band, row, buf);
        let above = Rect { height: area.height.saturating_sub(1), ..area };
        present(&strip::strip(model), false, theme, above, buf);
        return;
    }
    present(&strip::strip(model), ways::is_lost(model), theme, area, buf);
}

/// `PAST 14:43:52 (12m ago)  api up -> down: timeout      [ earlier  ] later  esc live`
fn past(theme: &Theme, band: &Band, row: Rect, buf: &mut Buffer) {
    let style = theme.style(Role::NoticeWarn).add_modifier(Modifier::REVERSED | Modifier::BOLD);
    buf.set_style(row, style);
    let width = usize::from(row.width);
    let keys = |from: usize| format!("{} ", band.keys[from..].join("  "));
    // The way out stays where there is no room for the others.
    let last = band.keys.len().saturating_sub(1);
    let fits = |from: &usize| keys(*from).width() <= width / 2;
    let mut keys_shown = keys((0..band.keys.len()).find(fits).unwrap_or(last));
    let mut room = width.saturating_sub(keys_shown.width() + 3);
    // Who is missing comes before what happened: what is shown is not all there was.
    let build = |without: Option<&String>| {
        let without = without.map(|it| format!("  {it}")).unwrap_or_default();
        format!(" {}{without}  {}", band.when, band.what)
    };
    let mut text = build(band.without.as_ref().map(|it| &it.0));
    if let Some((_, count)) = band.without.as_ref().filter(|_| text.width() > room) {
        // Without room for names how many is enough, and what happened matters more than the keys.
        text = build(Some(count));
        if text.width() > room {
            keys_shown = keys(last);
            room = width.saturating_sub(keys_shown.width() + 3);
        }
    }
    let keys = keys_shown;
    if let Some(live) = band.live.as_ref().filter(|it| text.width() + it.width() + 2 <= room) {
        text.push_str(&format!("  {live}"));
    }
    let text = cut(&text, room, theme.ascii);
    let text = if theme.ascii { text.replace('·', "|") } else { text };
    buf.set_string(row.x, row.y, text, style);
    let at = row.right().saturating_sub(u16::try_from(keys.width()).unwrap_or(u16::MAX));
    buf.set_string(at, row.y, keys, style);
}

fn present(strip: &Strip, is_lost: bool, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut rows = area.rows();
    for (it, row) in strip.rows.iter().zip(&mut rows) {
        buf.set_style(row, theme.style(it.role));
        buf.set_line(row.x, row.y, &line(theme, &it.pieces, row.width, it.role), row.width);
        if let Some(text) = &it.corner {
            let x = row.right().saturating_sub(text.width() as u16 + 1);
            buf.set_string(x, row.y, text, theme.style(it.role));
        }
    }
    let (role, mark) = if is_lost { (Role::NoticeError, 'x') } else { (Role::NoticeWarn, '!') };
    for (at, (text, row)) in strip.banner.iter().zip(&mut rows).enumerate() {
        let text = if theme.ascii { text.replace('·', "|") } else { text.clone() };
        let mark = if at == 0 { mark } else { ' ' };
        let text = cut(&format!(" {mark} {text}"), usize::from(row.width), theme.ascii);
        buf.set_style(row, theme.style(role));
        buf.set_string(row.x, row.y, text, theme.style(role));
    }
}

/// The pieces that fit, with two blanks between; the one that does not fit any more is cut.
fn line(theme: &Theme, pieces: &[Piece], width: u16, base: Role) -> Line<'static> {
    let mut line = Line::from(Span::raw(" "));
    for (role, text) in pieces {
        let room = usize::from(width).saturating_sub(line.width());
        if room < 4 {
            break;
        }
        let text = cut(&sanitise::text(text), room, theme.ascii);
        let text = if theme.ascii { text.replace('…', "~") } else { text };
        // On the incident's own ground the severity colours would drown.
        let style = if base == Role::HeaderIncident { theme.style(base) } else { theme.style(*role) };
        let gap = room.saturating_sub(text.width()).min(2);
        line.push_span(Span::styled(text, style));
        line.push_span(Span::raw(" ".repeat(gap)));
    }
    line
}
