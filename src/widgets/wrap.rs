//! Wraps text to a width in cells: at words where there are words, between characters in Chinese.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Wraps one text into rows of at most `width` cells. Line breaks are kept; an empty text is one empty row.
///
/// A word longer than a row is cut between its graphemes. Blanks at a break are dropped.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    text.split('\n').flat_map(|line| wrap_line(line, width.max(1))).collect()
}

/// Like [`wrap`], and breaks only at blanks where a row has one: addresses and paths stay whole.
pub fn wrap_at_blanks(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rest = text.trim();
    while rest.width() > width.max(1) {
        let begin = wrap_line(rest, width.max(1)).swap_remove(0);
        // Nothing fits, not even one character: what is left stays as it is.
        let Some(after) = rest.strip_prefix(begin.as_str()).filter(|it| it.len() < rest.len()) else { break };
        let blank = if after.starts_with(char::is_whitespace) { None } else { begin.rfind(char::is_whitespace) };
        let at = blank.filter(|it| *it > 0).unwrap_or(begin.len());
        rows.push(rest[..at].trim_end().to_string());
        rest = rest[at..].trim_start();
    }
    rows.push(rest.to_string());
    rows
}

/// Cuts a text to `width` cells and marks the cut with `…` (`~` in ASCII).
pub fn cut(text: &str, width: usize, ascii: bool) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let mut kept = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        if used + grapheme.width() + 1 > width {
            break;
        }
        used += grapheme.width();
        kept.push_str(grapheme);
    }
    if width > 0 {
        kept.push(if ascii { '~' } else { '…' });
    }
    kept
}

fn wrap_line(line: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut used = 0;
    for word in line.split_word_bounds() {
        let cells = word.width();
        if used + cells <= width {
            // A row that follows a break does not begin with the blanks of the break.
            if !(used == 0 && !rows.is_empty() && word.trim().is_empty()) {
                row.push_str(word);
                used += cells;
            }
            continue;
        }
        if word.trim().is_empty() {
            rows.push(std::mem::take(&mut row));
            used = 0;
            continue;
        }
        if used > 0 && cells <= width {
            rows.push(std::mem::take(&mut row).trim_end().to_string());
            row.push_str(word);
            used = cells;
            continue;
        }
        for grapheme in word.graphemes(true) {
            if used > 0 && used + grapheme.width() > width {
                rows.push(std::mem::take(&mut row).trim_end().to_string());
                used = 0;
            }
            row.push_str(grapheme);
            used += grapheme.width();
        }
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_where_they_fit() {
        assert_eq!(wrap("asked storage to fail over", 13), ["asked storage", "to fail over"]);
        assert_eq!(wrap("asked storage to fail over", 14), ["asked storage", "to fail over"]);
        assert_eq!(wrap("one\n\ntwo", 80), ["one", "", "two"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn addresses_stay_whole_where_a_row_has_a_blank() {
        assert_eq!(wrap_at_blanks("nothing listens on 127.0.0.1:9000", 28), ["nothing listens on", "127.0.0.1:9000"]);
        assert_eq!(wrap_at_blanks("127.0.0.1:9000", 5), ["127.0", ".0.1:", "9000"]);
        assert_eq!(wrap_at_blanks("连接失败 timeout", 7), ["连接失", "败", "timeout"]);
        assert_eq!(wrap_at_blanks("", 5), [""]);
    }

    #[test]
    fn chinese_breaks_between_characters_and_counts_two_cells_each() {
        assert_eq!(wrap("数据库连接失败", 6), ["数据库", "连接失", "败"]);
        assert_eq!(wrap("api 数据库", 7), ["api 数", "据库"]);
    }

    #[test]
    fn a_word_longer_than_the_row_is_cut() {
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("数", 1), ["数"]);
    }

    #[test]
    fn a_cut_is_marked_and_never_wider_than_asked() {
        assert_eq!(cut("abcdef", 6, false), "abcdef");
        assert_eq!(cut("abcdef", 4, false), "abc…");
        assert_eq!(cut("数据库", 4, true), "数~");
        assert_eq!(cut("abc", 0, false), "");
    }
}
