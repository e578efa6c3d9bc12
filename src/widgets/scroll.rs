//! Moving through rows: a selection that is an id, and an offset that keeps it visible.

use std::ops::Range;

use crate::domain::key::{Key, KeyCode};

/// Returns the id `step` rows from the selected one, stopping at the ends; the first when none is selected.
///
/// Rows come and go while a person looks, so a selection is an id and not a row number. An id that is gone
/// counts as none.
pub fn moved<'a, Id: PartialEq>(ids: &'a [Id], selected: Option<&Id>, step: i64) -> Option<&'a Id> {
    let last = ids.len().checked_sub(1)?;
    let Some(at) = selected.and_then(|it| ids.iter().position(|id| id == it)) else { return ids.first() };
    let at = (at as i64).saturating_add(step).clamp(0, last as i64);
    ids.get(at as usize)
}

/// Returns the first row to show so that `selected` is among `height` rows and as little as possible moves.
pub fn keep_visible(top: usize, selected: usize, total: usize, height: usize) -> usize {
    let lowest = total.saturating_sub(height);
    let top = top.min(selected);
    let top = if selected >= top + height { (selected + 1).saturating_sub(height) } else { top };
    top.min(lowest)
}

/// How far a text that has no selection was scrolled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scroll {
    top: usize,
}

impl Scroll {
    /// Moves by rows of a text of `total` rows, of which `height` are shown.
    pub fn by(&mut self, step: i64, total: usize, height: usize) {
        let lowest = total.saturating_sub(height) as i64;
        self.top = (self.top as i64).saturating_add(step).clamp(0, lowest) as usize;
    }

    /// Moves no more than is needed to show these rows; their first when there are more than fit.
    pub fn reveal(&mut self, rows: Range<usize>, total: usize, height: usize) {
        let shown = self.window(total, height);
        if rows.start < shown.start || rows.len() > height {
            self.top = rows.start;
        } else if rows.end > shown.end {
            self.top = rows.end - height;
        }
    }

    /// By how many rows a key moves a text of which `height` are shown; `None` for a key that does not.
    pub fn step(key: &Key, height: usize) -> Option<i64> {
        let page = (i64::try_from(height).unwrap_or(i64::MAX) - 1).max(1);
        Some(match (key.code, key.ctrl) {
            (KeyCode::Char('j'), false) | (KeyCode::Down, _) => 1,
            (KeyCode::Char('k'), false) | (KeyCode::Up, _) => -1,
            (KeyCode::Char('d' | 'f'), true) | (KeyCode::PageDown, _) | (KeyCode::Char(' '), _) => page,
            (KeyCode::Char('u' | 'b'), true) | (KeyCode::PageUp, _) => -page,
            (KeyCode::Char('g'), false) | (KeyCode::Home, _) => i64::MIN,
            (KeyCode::Char('G'), false) | (KeyCode::End, _) => i64::MAX,
            _ => return None,
        })
    }

    /// The rows that are shown.
    pub fn window(&self, total: usize, height: usize) -> Range<usize> {
        let top = self.top.min(total.saturating_sub(height));
        top..(top + height).min(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_moves_by_id_and_stops_at_the_ends() {
        let ids = ["a", "b", "c"];
        assert_eq!(moved(&ids, Some(&"a"), 1), Some(&"b"));
        assert_eq!(moved(&ids, Some(&"a"), i64::MIN), Some(&"a"));
        assert_eq!(moved(&ids, Some(&"a"), i64::MAX), Some(&"c"));
        assert_eq!(moved(&ids, Some(&"gone"), 1), Some(&"a"));
        assert_eq!(moved(&[], Some(&"a"), 1), None);
    }

    #[test]
    fn the_selected_row_is_always_among_the_shown() {
        for total in 1..20 {
            for height in 1..10 {
                for selected in 0..total {
                    for top in 0..25 {
                        let top = keep_visible(top, selected, total, height);
                        assert!((top..top + height).contains(&selected), "{total} {height} {selected}");
                        assert!(top == 0 || top + height <= total, "no blank rows below the last one");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_revealed_is_moved_to_no_further_than_needed() {
        let after = |top: i64, rows: Range<usize>| {
            let mut scroll = Scroll::default();
            scroll.by(top, 40, 10);
            scroll.reveal(rows, 40, 10);
            scroll.window(40, 10).start
        };
        assert_eq!(after(5, 6..9), 5, "it is in sight");
        assert_eq!(after(0, 12..18), 8);
        assert_eq!(after(30, 12..18), 12);
        assert_eq!(after(0, 12..30), 12);
    }

    #[test]
    fn a_text_is_not_scrolled_past_its_end() {
        let mut scroll = Scroll::default();
        scroll.by(100, 10, 4);
        assert_eq!(scroll.window(10, 4), 6..10);
        scroll.by(-1, 10, 4);
        assert_eq!(scroll.window(10, 4), 5..9);
        assert_eq!(scroll.window(3, 4), 0..3);
    }
}
