//! Makes hostile text harmless before it is drawn, stored in a note or put in a message.
//!
//! What comes out of here holds no control character, no escape sequence, no bidirectional control and
//! nothing invisible that changes how its neighbours look. Colours (SGR) are lifted out as spans, all
//! other sequences are removed as a whole; one that never ends leaves `␛` behind, because everything
//! after it is gone with it. Single controls become visible glyphs, so that a NUL in a log is seen and
//! does not glue words together. Sanitising twice changes nothing. Tabs become blanks, but for what is printed
//! or written as a log is.

use std::ops::{Range, RangeInclusive};

use unicode_width::UnicodeWidthChar;

use crate::domain::log::SgrSpan;

/// Columns between tab stops, as terminals have them.
const TAB_COLUMNS: usize = 8;
/// Combining marks kept on one character: real scripts need three, "zalgo" text uses hundreds per cell.
const MAX_COMBINING: usize = 6;
/// Bytes of a file name made by [`file_name`]: leaves room for a date and an extension below the usual 255.
const MAX_FILE_NAME_BYTES: usize = 180;
/// Stands for a character that would be invisible or would reorder its neighbours.
const HIDDEN: char = '·';
/// Stands for an escape sequence that did not end properly.
const BROKEN_ESCAPE: char = '␛';

/// A line that may be drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanLine {
    /// Text without anything a terminal would act on.
    pub text: String,
    /// Colours the line asked for; `line` is 0, byte ranges are of `text`.
    pub styles: Vec<SgrSpan>,
}

/// What becomes of tabs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tabs {
    /// Blanks up to the next stop: a cell that is drawn holds no tab.
    #[default]
    Blanks,
    /// They stay, for programs that read on.
    Kept,
}

/// Sanitises one line of a log: bytes as they are on disk, with or without the line end.
pub fn line(bytes: &[u8]) -> CleanLine {
    line_with(bytes, Tabs::Blanks)
}

/// As [`line()`], with a word on its tabs.
pub fn line_with(bytes: &[u8], tabs: Tabs) -> CleanLine {
    let bytes = trim_line_end(bytes);
    if is_plain(bytes) {
        // Most lines: nothing to do but to copy them.
        return CleanLine { text: String::from_utf8_lossy(bytes).into_owned(), styles: Vec::new() };
    }
    let source = String::from_utf8_lossy(bytes);
    let source = source.strip_prefix('\u{feff}').unwrap_or(&source);
    let mut cleaner = Cleaner::new(source.len(), tabs);
    cleaner.feed(source);
    cleaner.finish()
}

/// Sanitises text that has to fit in one line: line breaks and tabs become spaces, colours are dropped.
pub fn text(source: &str) -> String {
    if is_plain(source.as_bytes()) {
        return source.to_string();
    }
    let spaced: String = source.replace("\r\n", " ").replace(['\n', '\r', '\t'], " ");
    line(spaced.as_bytes()).text
}

/// Sanitises text of several lines: line breaks stay, colours are dropped.
pub fn multiline(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    for (index, it) in source.split('\n').enumerate() {
        if index > 0 {
            result.push('\n');
        }
        result.push_str(&line(it.as_bytes()).text);
    }
    result
}

/// The bytes without escape sequences: what a person reads there, for those who search. `None` when there are none.
///
/// Sequences end where [`line()`] ends them, at the latest with their line.
pub fn without_escapes(bytes: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(ESCAPE, bytes)?;
    let mut clean = Vec::with_capacity(bytes.len());
    put_without_escapes(bytes, &mut clean);
    Some(clean)
}

/// As [`without_escapes`], in place of what `clean` holds.
pub fn put_without_escapes(bytes: &[u8], clean: &mut Vec<u8>) {
    clean.clear();
    for text in between_escapes(bytes) {
        clean.extend_from_slice(&bytes[text]);
    }
}

/// How many bytes are left without escape sequences.
pub fn length_without_escapes(bytes: &[u8]) -> usize {
    between_escapes(bytes).map(|it| it.len()).sum()
}

/// Where the byte stands that is number `clean` without escape sequences; the end when there are fewer.
pub fn offset_with_escapes(bytes: &[u8], clean: usize) -> usize {
    let mut left = clean;
    for text in between_escapes(bytes) {
        if left < text.len() {
            return text.start + left;
        }
        left -= text.len();
    }
    bytes.len()
}

/// The stretches between escape sequences.
fn between_escapes(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let rest = bytes.get(start..)?;
        let length = memchr::memchr(ESCAPE, rest);
        at = match length {
            Some(length) => start + length + 1 + sequence_length(&rest[length + 1..]),
            None => bytes.len() + 1,
        };
        Some(start..length.map_or(bytes.len(), |it| start + it))
    })
}

/// Begins an escape sequence.
pub const ESCAPE: u8 = 0x1b;

/// Bytes of an escape sequence behind its first one.
fn sequence_length(behind: &[u8]) -> usize {
    let skip = |from: usize, of: RangeInclusive<u8>| {
        behind[from..].iter().position(|byte| !of.contains(byte)).map_or(behind.len(), |it| from + it)
    };
    match behind.first() {
        Some(b'[') => {
            let end = skip(1, 0x20..=0x3f);
            end + usize::from(behind.get(end).is_some_and(|it| (0x40..=0x7e).contains(it)))
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let ends = |it: &u8| matches!(*it, b'\n' | 0x07 | 0x18 | 0x1a | ESCAPE);
            let end = behind.iter().position(ends).unwrap_or(behind.len());
            match behind.get(end) {
                Some(0x07 | 0x18 | 0x1a) => end + 1,
                Some(&ESCAPE) if behind.get(end + 1) == Some(&b'\\') => end + 2,
                // Without an end it is text.
                _ => 0,
            }
        }
        Some(0x20..=0x7e) => {
            let end = skip(0, 0x20..=0x2f);
            end + usize::from(behind.get(end).is_some_and(|it| (0x30..=0x7e).contains(it)))
        }
        _ => 0,
    }
}

/// Makes one path component of any text: no separator, never hidden, never empty, bounded in length.
pub fn file_name(source: &str) -> String {
    let mut name = String::new();
    for it in text(source).chars() {
        let it = match it {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            it if it.is_whitespace() => '_',
            it => it,
        };
        if name.len() + it.len_utf8() > MAX_FILE_NAME_BYTES {
            break;
        }
        // A leading dot hides the file, a leading dash looks like an option.
        if name.is_empty() && matches!(it, '.' | '-') {
            continue;
        }
        name.push(it);
    }
    if name.is_empty() { "unnamed".to_string() } else { name }
}

fn trim_line_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    &bytes[..end]
}

fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// Foreground and weight at the place the cleaner has reached.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Pen {
    foreground: Option<u8>,
    bold: bool,
}

struct Cleaner {
    text: String,
    styles: Vec<SgrSpan>,
    pen: Pen,
    /// Where in `text` the pen was taken up.
    pen_start: usize,
    column: usize,
    combining: usize,
    tabs: Tabs,
}

impl Cleaner {
    fn new(capacity: usize, tabs: Tabs) -> Self {
        Self {
            text: String::with_capacity(capacity),
            styles: Vec::new(),
            pen: Pen::default(),
            pen_start: 0,
            column: 0,
            combining: 0,
            tabs,
        }
    }

    fn feed(&mut self, source: &str) {
        let mut rest = source;
        while let Some(it) = rest.chars().next() {
            rest = &rest[it.len_utf8()..];
            rest = match it {
                '\u{1b}' => self.escape(rest),
                '\u{9b}' => self.control_sequence(rest),
                '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => self.control_string(rest).unwrap_or(rest),
                _ => {
                    self.push(it);
                    rest
                }
            };
        }
    }

    fn finish(mut self) -> CleanLine {
        self.set_pen(Pen::default());
        CleanLine { text: self.text, styles: self.styles }
    }

    fn push(&mut self, it: char) {
        match it {
            '\t' if self.tabs == Tabs::Kept => {
                self.text.push(it);
                self.combining = 0;
            }
            '\t' => {
                let spaces = TAB_COLUMNS - self.column % TAB_COLUMNS;
                self.text.extend(std::iter::repeat_n(' ', spaces));
                self.column += spaces;
                self.combining = 0;
            }
            // Emoji joiners and variation selectors: what is left has a width that all terminals agree on.
            '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => {}
            it => {
                let shown = visible(it);
                let width = shown.width().unwrap_or(1);
                if width == 0 {
                    self.combining += 1;
                    if self.combining > MAX_COMBINING {
                        return;
                    }
                } else {
                    self.combining = 0;
                }
                self.text.push(shown);
                self.column += width;
            }
        }
    }

    /// After ESC; returns what stands after the sequence.
    fn escape<'a>(&mut self, rest: &'a str) -> &'a str {
        match rest.as_bytes().first() {
            Some(b'[') => self.control_sequence(&rest[1..]),
            Some(b']' | b'P' | b'X' | b'^' | b'_') => self.control_string(&rest[1..]).unwrap_or(rest),
            Some(0x20..=0x7e) => {
                let bytes = rest.as_bytes();
                let end = bytes.iter().position(|byte| !(0x20..0x30).contains(byte)).unwrap_or(bytes.len());
                match bytes.get(end) {
                    Some(0x30..=0x7e) => &rest[end + 1..],
                    _ => {
                        self.push(BROKEN_ESCAPE);
                        &rest[end..]
                    }
                }
            }
            _ => {
                self.push(BROKEN_ESCAPE);
                rest
            }
        }
    }

    /// After `ESC [`.
    fn control_sequence<'a>(&mut self, rest: &'a str) -> &'a str {
        let bytes = rest.as_bytes();
        let parameters = bytes.iter().position(|byte| !(0x30..0x40).contains(byte)).unwrap_or(bytes.len());
        let intermediates = bytes[parameters..].iter().position(|byte| !(0x20..0x30).contains(byte));
        let end = intermediates.map_or(bytes.len(), |count| parameters + count);
        match bytes.get(end) {
            Some(b'm') if end == parameters => {
                let pen = colour(self.pen, &rest[..parameters]);
                self.set_pen(pen);
                &rest[end + 1..]
            }
            Some(0x40..=0x7e) => &rest[end + 1..],
            _ => {
                self.push(BROKEN_ESCAPE);
                &rest[end..]
            }
        }
    }

    /// After the introducer of OSC, DCS, APC, PM or SOS. `None` when it has no end: then it is text that a person wants
    /// to see, since anybody could hide the rest of a line so.
    fn control_string<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        for (at, it) in rest.char_indices() {
            match it {
                '\u{7}' | '\u{9c}' => return Some(&rest[at + it.len_utf8()..]),
                '\u{1b}' if rest[at + 1..].starts_with('\\') => return Some(&rest[at + 2..]),
                // Cancelled: what was said so far is void.
                '\u{18}' | '\u{1a}' => return Some(&rest[at + 1..]),
                // Another one begins.
                '\u{1b}' | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}' => break,
                _ => {}
            }
        }
        self.push(BROKEN_ESCAPE);
        None
    }

    fn set_pen(&mut self, pen: Pen) {
        if pen == self.pen {
            return;
        }
        if self.pen != Pen::default() && self.text.len() > self.pen_start {
            self.styles.push(SgrSpan {
                line: 0,
                range: bound(self.pen_start)..bound(self.text.len()),
                foreground: self.pen.foreground,
                bold: self.pen.bold,
            });
        }
        self.pen = pen;
        self.pen_start = self.text.len();
    }
}

fn bound(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// The character that is shown for `it`.
fn visible(it: char) -> char {
    match it {
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + it as u32).unwrap_or(HIDDEN),
        '\u{7f}' => '␡',
        // C1 controls, the soft hyphen, the Arabic letter mark, the Mongolian vowel separator.
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' => HIDDEN,
        // Zero width, direction marks, line and paragraph separator, embeddings, isolates, invisible operators.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => HIDDEN,
        // Byte order mark inside a line, interlinear annotation, tags.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => HIDDEN,
        it => it,
    }
}

/// Applies the parameters of one SGR sequence.
fn colour(mut pen: Pen, parameters: &str) -> Pen {
    if parameters.starts_with(['<', '=', '>', '?']) {
        return pen;
    }
    let mut codes = parameters.split([';', ':']).map(|it| it.parse::<u16>().unwrap_or(0));
    while let Some(code) = codes.next() {
        match code {
            0 => pen = Pen::default(),
            1 => pen.bold = true,
            22 => pen.bold = false,
            30..=37 => pen.foreground = u8::try_from(code - 30).ok(),
            90..=97 => pen.foreground = u8::try_from(code - 90 + 8).ok(),
            39 => pen.foreground = None,
            38 | 48 | 58 => {
                let chosen = match codes.next() {
                    Some(5) => codes.next().and_then(|it| u8::try_from(it).ok()),
                    Some(2) => {
                        let mut channel = || codes.next().unwrap_or(0).min(255);
                        Some(palette(channel(), channel(), channel()))
                    }
                    _ => None,
                };
                if code == 38 {
                    pen.foreground = chosen;
                }
            }
            _ => {}
        }
    }
    pen
}

/// The colour of the 256-colour cube nearest to an RGB value.
fn palette(red: u16, green: u16, blue: u16) -> u8 {
    let step = |it: u16| (it * 5 + 127) / 255;
    u8::try_from(16 + 36 * step(red) + 6 * step(green) + step(blue)).unwrap_or(15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(bytes: &[u8]) -> String {
        line(bytes).text
    }

    fn is_harmless(it: char) -> bool {
        visible(it) == it && !matches!(it, '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
    }

    #[test]
    fn escape_payloads_leave_nothing_a_terminal_acts_on() {
        let payloads: &[(&[u8], &str)] = &[
            (b"a\x1b]52;c;SGVsbG8=\x07b", "ab"),
            (b"a\x1b]52;c;SGVsbG8=\x1b\\b", "ab"),
            (b"\x1b]0;owned\x07title", "title"),
            (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\!", "link!"),
            (b"a\x1bPq#0;2\x1b\\b", "ab"),
            (b"a\x1b_Gf=100\x1b\\b", "ab"),
            (b"a\x1b^pm\x1b\\b\x1bXsos\x1b\\c", "abc"),
            (b"a\x1b[2J\x1b[Hb\x1b[6nc\x1b[?1049hd", "abcd"),
            (b"a\x1bcb\x1b(0c\x1b7d", "abcd"),
            (b"a\x1b]52;c;never ends", "a␛]52;c;never ends"),
            (b"a\x1b[31", "a␛"),
            (b"a\x1b", "a␛"),
            ("a\u{9b}31mb\u{9d}0;x\u{9c}c\u{90}q\u{9c}d".as_bytes(), "abcd"),
            (b"a\x9b31mb", "a\u{fffd}31mb"),
            (b"a\x1b]0;x\x1b[31mb", "a␛]0;xb"),
        ];
        for (payload, expected) in payloads {
            assert_eq!(clean(payload), *expected, "{payload:?}");
        }
    }

    #[test]
    fn controls_are_seen_and_do_not_glue_words() {
        assert_eq!(clean(b"red\0N\rX\x08Y\x7f"), "red␀N␍X␈Y␡");
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{2066}d".as_bytes()), "a·b·c·d");
        assert_eq!(
            clean("\u{feff}first ❤\u{fe0f} \u{1f469}\u{200d}\u{1f4bb}".as_bytes()),
            "first ❤ \u{1f469}\u{1f4bb}"
        );
    }

    #[test]
    fn tabs_reach_the_next_stop_by_display_width() {
        assert_eq!(clean(b"a\tb"), "a       b");
        assert_eq!(clean("数据\tb".as_bytes()), "数据    b");
        assert_eq!(clean(b"12345678\tb"), "12345678        b");
        assert_eq!(line_with(b"\ta\t\x1b[31mb\t\x07\n", Tabs::Kept).text, "\ta\tb\t␇");
    }

    #[test]
    fn line_ends_are_not_part_of_the_line() {
        assert_eq!(clean(b"a\r\n"), "a");
        assert_eq!(clean(b"a\r\r"), "a");
    }

    #[test]
    fn colours_become_spans() {
        let found = line("x\x1b[1;31m错误\x1b[0m y \x1b[38;5;200mz\x1b[38;2;255;0;0mr".as_bytes());
        assert_eq!(found.text, "x错误 y zr");
        let spans: Vec<_> = found.styles.iter().map(|it| (it.range.clone(), it.foreground, it.bold)).collect();
        assert_eq!(spans, [(1..7, Some(1), true), (10..11, Some(200), false), (11..12, Some(196), false)]);
    }

    #[test]
    fn piled_up_marks_are_bounded() {
        let pile = format!("a{}b", "\u{301}".repeat(500));
        assert_eq!(clean(pile.as_bytes()).chars().count(), 2 + MAX_COMBINING);
    }

    #[test]
    fn a_file_name_is_one_visible_component() {
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name("..."), "unnamed");
        assert_eq!(file_name("orders db\n"), "orders_db_");
        assert!(file_name(&"错".repeat(500)).len() <= MAX_FILE_NAME_BYTES);
    }

    #[test]
    fn several_lines_stay_several_lines() {
        assert_eq!(multiline("a\r\n\x1b[31mb\n"), "a\nb\n");
        assert_eq!(text("a\r\nb\tc\n"), "a b c ");
    }

    proptest! {
        #[test]
        fn any_bytes_become_harmless_and_stay_so(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let found = line(&bytes);
            prop_assert!(found.text.chars().all(is_harmless), "{:?}", found.text);
            prop_assert_eq!(line(found.text.as_bytes()).text, found.text.clone());
            for span in &found.styles {
                let range = span.range.start as usize..span.range.end as usize;
                prop_assert!(found.text.get(range).is_some_and(|it| !it.is_empty()));
            }
        }

        #[test]
        fn any_mix_of_escapes_becomes_harmless(parts in prop::collection::vec(
            prop::sample::select(vec!["\x1b", "[", "]", "3", "1", ";", "m", "\x07", "\\", "P", "\u{9b}", "\u{9c}", "\u{9d}",
                "a", "错", "\t", "\r", "\u{202e}", "\u{feff}", "\u{200d}", "\u{301}", "\x18", "(", " "]), 0..60)) {
            let source = parts.concat();
            let found = line(source.as_bytes());
            prop_assert!(found.text.chars().all(is_harmless), "{:?}", found.text);
            prop_assert_eq!(line(found.text.as_bytes()).text, found.text.clone());
            let once = text(&source);
            prop_assert_eq!(text(&once), once.clone());
            let lines = multiline(&source);
            prop_assert_eq!(multiline(&lines), lines.clone());
            prop_assert!(!file_name(&source).is_empty());
        }
    }
}
