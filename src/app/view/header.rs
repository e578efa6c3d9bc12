//! The first rows: what is red and which went first, the open incident, a banner.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::model::Model;
use crate::app::past::Band;
use crate::app::summary::{self, Piece};
use crate::app::ways;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::wrap::cut;

/// Cells that a piece keeps when it gives way: less says nothing.
const FIRST_MIN: usize = 12;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if let Some(band) = model.past_band() {
        let row = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
        past(theme, &band, row, buf);
        let above = Rect { height: area.height.saturating_sub(1), ..area };
        if above.height > 0 {
            present(model, theme, None, above, buf);
        }
        return;
    }
    // On a low screen there is one row; what is lost needs it more than what was red then.
    let banner = summary::banner(model).filter(|_| area.height > 1 || ways::is_lost(model));
    present(model, theme, banner, area, buf);
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

fn present(model: &Model, theme: &Theme, banner: Option<String>, area: Rect, buf: &mut Buffer) {
    let (incident, services) = (summary::incident(model), summary::services(model));
    let room = area.height.saturating_sub(u16::from(banner.is_some()));
    let mut corner = ways::corner(model);
    let mut rows = area.rows();
    let mut draw = |pieces: &[Piece], role: Role, corner: Option<String>, buf: &mut Buffer| {
        if let Some(row) = rows.next() {
            buf.set_style(row, theme.style(role));
            let line = line(theme, pieces, row.width, role);
            buf.set_line(row.x, row.y, &line, row.width);
            if let Some(text) = corner {
                let (text, used) = (sanitise::text(&text), line.width());
                // Whole or not at all: it is no news.
                if usize::from(row.width) > used + text.width() {
                    let x = row.right() - text.width() as u16 - 1;
                    buf.set_string(x, row.y, &text, theme.style(role));
                }
            }
        }
    };
    // Several hosts stand behind the name of the program, or in a row of their own while an incident is open.
    let hosts = if model.fleet.is_of_several() { summary::hosts(model) } else { Vec::new() };
    let has_incident = !incident.is_empty();
    let mut opening = match has_incident {
        true => incident,
        false if room > 1 => [vec![(Role::HeaderStrong, "hotseat".to_string())], hosts.clone()].concat(),
        false => vec![(Role::HeaderStrong, "hotseat".to_string())],
    };
    if model.readonly() {
        opening.insert(0, (Role::NoticeWarn, "read-only".to_string()));
    }
    let width = area.width;
    if room == 0 {
        // The banner has it all.
    } else if room > 1 {
        let role = if has_incident { Role::HeaderIncident } else { Role::Header };
        let (services, left) = with_company(model, services, width);
        // In a full outage the second row is full; how many are here is worth more than who watches.
        let used = line(theme, &opening, width, role).width();
        let services = match left {
            Some(count) => {
                let both = corner.as_ref().map(|it| format!("{count}, {it}"));
                let fits = |it: &String| usize::from(width) > used + sanitise::text(it).width();
                match both.into_iter().chain([count.clone()]).find(fits) {
                    Some(text) => {
                        corner = Some(text);
                        services
                    }
                    None => squeezed(services, count, width),
                }
            }
            None => services,
        };
        draw(&opening, role, corner, buf);
        draw(&services, Role::Header, None, buf);
        if has_incident && room > 2 {
            draw(&hosts, Role::Header, None, buf);
        }
    } else {
        // One row for everything: what is red comes before how the incident is called.
        let few = opening.into_iter().take(2 + usize::from(model.readonly()));
        let all: Vec<Piece> = match services.is_empty() {
            true => few.chain([(Role::Header, "no probes are configured".to_string())]).collect(),
            false => few.chain(services).collect(),
        };
        let (all, left) = with_company(model, all, width);
        let all = left.map_or_else(|| all.clone(), |count| squeezed(all.clone(), count, width));
        draw(&all, Role::Header, corner, buf);
    }
    if let (Some(row), Some(text)) = (rows.next(), banner) {
        let (role, mark) = if ways::is_lost(model) { (Role::NoticeError, 'x') } else { (Role::NoticeWarn, '!') };
        let style = theme.style(role);
        buf.set_style(row, style);
        let text = if theme.ascii { text.replace('·', "|") } else { text };
        let text = cut(&format!(" {mark} {}", sanitise::text(&text)), usize::from(row.width), theme.ascii);
        buf.set_string(row.x, row.y, text, style);
    }
}

/// The pieces, and who else is here: by name where there is room, else how many. Never in place of what is red: what
/// did not find room comes back.
fn with_company(model: &Model, mut pieces: Vec<Piece>, width: u16) -> (Vec<Piece>, Option<String>) {
    let Some(company) = model.company() else { return (pieces, None) };
    let room = |pieces: &[Piece]| usize::from(width).saturating_sub(1 + cells(pieces));
    let text = if company.names.width() <= room(&pieces) { company.names } else { company.count };
    // What is left out before it is left out is how many are well.
    if text.width() > room(&pieces) && pieces.last().is_some_and(|(role, _)| *role == Role::ProbeUp) {
        pieces.pop();
    }
    if text.width() > room(&pieces) {
        return (pieces, Some(text));
    }
    pieces.push((Role::HeaderStrong, text));
    (pieces, None)
}

/// Puts a text behind how much is red and what was first, which gives way for it where it is long.
fn squeezed(mut pieces: Vec<Piece>, text: String, width: u16) -> Vec<Piece> {
    let red = pieces.iter().position(|(role, _)| *role == Role::ProbeDown).unwrap_or_default();
    let at = pieces.len().min(red + 2);
    let over = (1 + cells(&pieces[..at]) + text.width()).saturating_sub(usize::from(width));
    if let Some((_, first)) = pieces[..at].last_mut().filter(|_| over > 0) {
        *first = cut(first, first.width().saturating_sub(over).max(FIRST_MIN), false);
    }
    pieces.insert(at, (Role::HeaderStrong, text));
    pieces
}

/// Cells of pieces, with the two blanks behind each.
fn cells(pieces: &[Piece]) -> usize {
    pieces.iter().map(|(_, text)| sanitise::text(text).width() + 2).sum()
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
        // On the incident's own ground the severity colours would drown.
        let style = if base == Role::HeaderIncident { theme.style(base) } else { theme.style(*role) };
        let gap = room.saturating_sub(text.width()).min(2);
        line.push_span(Span::styled(text, style));
        line.push_span(Span::raw(" ".repeat(gap)));
    }
    line
}
