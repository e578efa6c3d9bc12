//! Key hints in one row: `f filter  / search  ? help`.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::theme::Theme;
use crate::theme::role::Role;

/// Draws the hints that fit, most important first; what does not fit is left out whole.
///
/// `last` is kept in any case: the way to everything that was left out.
pub fn draw(theme: &Theme, hints: &[(String, String)], last: Option<&(String, String)>, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.width);
    let kept = last.map_or(0, |it| hint(theme, it).width() + 2);
    let mut line = Line::default();
    let mut used = 0;
    for it in hints {
        let spans = hint(theme, it);
        let gap = if used == 0 { 0 } else { 2 };
        if used + gap + spans.width() + kept > room {
            continue;
        }
        used += gap + spans.width();
        line.push_span(Span::raw(" ".repeat(gap)));
        line.spans.extend(spans.spans);
    }
    if let Some(last) = last {
        line.push_span(Span::raw(if used == 0 { "" } else { "  " }));
        line.spans.extend(hint(theme, last).spans);
    }
    buf.set_style(area, theme.style(Role::Footer));
    buf.set_line(area.x, area.y, &line, area.width);
}

fn hint(theme: &Theme, (key, label): &(String, String)) -> Line<'static> {
    Line::from(vec![
        Span::styled(key.clone(), theme.style(Role::Key)),
        Span::styled(format!(" {label}"), theme.style(Role::Footer)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(width: u16) -> String {
        let hints: Vec<(String, String)> =
            [("f", "filter"), ("ctrl-x", "something long"), ("z", "zoom")].map(|(k, l)| (k.into(), l.into())).into();
        let area = Rect::new(0, 0, width, 1);
        let mut buf = Buffer::empty(area);
        draw(&Theme::mono(), &hints, Some(&("?".into(), "help".into())), area, &mut buf);
        buf.content.iter().map(|it| it.symbol()).collect::<String>().trim_end().to_string()
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole_and_help_stays() {
        assert_eq!(drawn(80), "f filter  ctrl-x something long  z zoom  ? help");
        assert_eq!(drawn(30), "f filter  z zoom  ? help");
        assert_eq!(drawn(10), "? help");
    }
}
