//! The frame of an overlay: a cleared box with a border and a title.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::border;
use ratatui::text::Span;
use ratatui::widgets::{Block, Clear, Widget};

use crate::theme::Theme;
use crate::theme::role::Role;

const ASCII: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// An area of at most this size in the middle of another.
pub fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// Clears the area, draws the frame and returns what is inside, one column narrower at both sides.
pub fn frame(theme: &Theme, title: &str, area: Rect, buf: &mut Buffer) -> Rect {
    Clear.render(area, buf);
    let block = Block::bordered()
        .border_set(if theme.ascii { ASCII } else { border::ROUNDED })
        .border_style(theme.style(Role::Border))
        .title(Span::styled(format!(" {title} "), theme.style(Role::TitleFocused)))
        .style(theme.style(Role::Popup));
    let inner = block.inner(area);
    block.render(area, buf);
    let margin = u16::from(inner.width > 2);
    Rect { x: inner.x + margin, width: inner.width - 2 * margin, ..inner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_in_any_area() {
        for (width, height) in [(0, 0), (1, 1), (2, 2), (3, 1), (80, 24)] {
            let area = Rect::new(0, 0, width, height);
            let mut buf = Buffer::empty(area);
            let inner = frame(&Theme::mono(), "title", centred(area, 60, 10), &mut buf);
            assert!(area.intersection(inner) == inner || inner.is_empty(), "{width}x{height}");
        }
    }
}
