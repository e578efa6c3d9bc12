//! Turns what the views drew into the fewest bytes that make the terminal show it.
//!
//! Two buffers, what the terminal shows and what it shall show. A frame is one `Vec` of bytes for one
//! `write`: begin synchronized update, move the rows that moved, send the cells that differ, place the
//! cursor, end. A frame that changes nothing is empty. This is also the last guard before the terminal:
//! no control character passes it, whatever a view put into a cell.

use std::io::Write as _;

use ratatui::buffer::{Buffer, Cell, CellWidth as _};
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier};

use crate::tui::capabilities::{ColorDepth, Glyphs};
use crate::tui::glyph;
use crate::tui::pen::{Pen, degrade};
use crate::tui::scroll::{self, Direction, Scroll};

/// Blocks of rows moved in one frame: the logs, and one more pane that grew in the same instant.
const SCROLLS_MAX: usize = 2;
/// Changed blanks at a row's end from which on erasing to its end is shorter than sending them.
const ERASE_MIN: usize = 5;
/// Unchanged cells that are sent again because moving over them costs as much.
const BRIDGE_MAX: u16 = 4;

const SYNC_BEGIN: &[u8] = b"\x1b[?2026h";
const SYNC_END: &[u8] = b"\x1b[?2026l";

/// What the terminal shows, and how to change it.
#[derive(Debug)]
pub struct Painter {
    shown: Buffer,
    next: Buffer,
    // Hashes of the rows of `shown`.
    hashes: Vec<u64>,
    // False while nobody knows what the terminal shows: the next frame begins with a clear screen.
    known: bool,
    cursor: Option<Position>,
    depth: ColorDepth,
    glyphs: Glyphs,
    synchronized: bool,
}

impl Painter {
    /// Makes a painter for a terminal of which nothing is known.
    pub fn new(width: u16, height: u16, depth: ColorDepth, glyphs: Glyphs) -> Self {
        let area = Rect::new(0, 0, width, height);
        Self {
            shown: Buffer::empty(area),
            next: Buffer::empty(area),
            hashes: vec![0; usize::from(height)],
            known: false,
            cursor: None,
            depth,
            glyphs,
            synchronized: true,
        }
    }

    /// The screen's cells.
    pub fn area(&self) -> Rect {
        self.next.area
    }

    /// The terminal has another size; what it shows after that, nobody knows.
    pub fn resize(&mut self, width: u16, height: u16) {
        let area = Rect::new(0, 0, width, height);
        self.shown = Buffer::empty(area);
        self.next = Buffer::empty(area);
        self.hashes = vec![0; usize::from(height)];
        self.known = false;
    }

    /// Something else wrote to the terminal: the next frame paints all of it.
    pub fn forget(&mut self) {
        self.known = false;
    }

    /// The terminal said that it does not know synchronized update, so its 16 bytes a frame can be saved.
    pub fn without_synchronized_update(&mut self) {
        self.synchronized = false;
    }

    /// Draws a frame and appends the bytes that show it; nothing when nothing changed.
    ///
    /// `view` gets a blank buffer and answers where the cursor belongs, if anywhere.
    pub fn frame(&mut self, out: &mut Vec<u8>, view: impl FnOnce(Rect, &mut Buffer) -> Option<Position>) {
        self.next.reset();
        let area = self.next.area;
        let cursor = view(area, &mut self.next).filter(|it| area.contains(*it));
        self.clean();
        let start = out.len();
        if self.synchronized {
            out.extend_from_slice(SYNC_BEGIN);
        }
        let body = out.len();
        self.body(out);
        self.place_cursor(cursor, out.len() > body, out);
        if out.len() == body {
            out.truncate(start);
        } else if self.synchronized {
            out.extend_from_slice(SYNC_END);
        }
    }

    fn body(&mut self, out: &mut Vec<u8>) {
        let mut hashes: Vec<u64> = rows(&self.next).map(hash).collect();
        if self.known {
            self.scroll(&hashes, out);
        } else {
            out.extend_from_slice(b"\x1b[r\x1b[m\x1b[?25l\x1b[2J");
            self.shown.reset();
            self.cursor = None;
            self.known = true;
            // Hashes of blank rows are not needed: no row of the old screen can be used again.
            self.hashes.fill(0);
        }
        let mut stroke = Stroke { out, pen: Pen::default(), at: None };
        for (y, (old, new)) in rows(&self.shown).zip(rows(&self.next)).enumerate() {
            if old != new {
                stroke.row(y as u16, old, new);
            }
        }
        stroke.pen.change(Pen::default(), stroke.out);
        std::mem::swap(&mut self.shown, &mut self.next);
        std::mem::swap(&mut self.hashes, &mut hashes);
    }

    /// Moves what moved, in the terminal and in `shown` alike.
    fn scroll(&mut self, hashes: &[u64], out: &mut Vec<u8>) {
        let cost: Vec<u32> = rows(&self.next).map(weight).collect();
        for _ in 0..SCROLLS_MAX {
            let Some(Scroll { top, bottom, by, direction }) = scroll::find(&self.hashes, hashes, &cost) else { return };
            let width = usize::from(self.shown.area.width);
            let region = &mut self.shown.content[top * width..bottom * width];
            let row_hashes = &mut self.hashes[top..bottom];
            // Line feed at the last row of a region and reverse index at its first move it in every terminal
            // since the VT100; the Linux console has nothing shorter.
            // Writing to a Vec cannot fail, here and below.
            let _ = write!(out, "\x1b[{};{bottom}r", top + 1);
            match direction {
                Direction::Up => {
                    let _ = write!(out, "\x1b[{bottom}H");
                    out.extend(std::iter::repeat_n(b'\n', by));
                    region.rotate_left(by * width);
                    row_hashes.rotate_left(by);
                    let blank = region.len() - by * width;
                    region[blank..].fill(Cell::EMPTY);
                    let blank = row_hashes.len() - by;
                    row_hashes[blank..].fill(0);
                }
                Direction::Down => {
                    let _ = write!(out, "\x1b[{}H", top + 1);
                    for _ in 0..by {
                        out.extend_from_slice(b"\x1bM");
                    }
                    region.rotate_right(by * width);
                    row_hashes.rotate_right(by);
                    region[..by * width].fill(Cell::EMPTY);
                    row_hashes[..by].fill(0);
                }
            }
            out.extend_from_slice(b"\x1b[r");
        }
    }

    fn place_cursor(&mut self, cursor: Option<Position>, moved: bool, out: &mut Vec<u8>) {
        if let Some(at) = cursor.filter(|_| moved || cursor != self.cursor) {
            move_to(at.x, at.y, out);
        }
        match (self.cursor, cursor) {
            (None, Some(_)) => out.extend_from_slice(b"\x1b[?25h"),
            (Some(_), None) => out.extend_from_slice(b"\x1b[?25l"),
            _ => {}
        }
        self.cursor = cursor;
    }

    /// Brings the drawn cells to what may be sent, so that equal cells are cells that look equal.
    fn clean(&mut self) {
        let width = usize::from(self.next.area.width);
        if width == 0 {
            return;
        }
        for row in self.next.content.chunks_exact_mut(width) {
            let mut x = 0;
            while x < width {
                let (cell, rest) = row[x..].split_first_mut().unwrap_or_else(|| unreachable!("x < width"));
                let symbol_width = glyph::clean(cell, self.glyphs);
                style(cell, self.depth);
                x += 1;
                if symbol_width == 2 {
                    match rest.first_mut() {
                        // The empty symbol marks a cell that lies under the wide one before it.
                        Some(under) if under.symbol() == " " => {
                            *under = Cell::EMPTY;
                            under.set_symbol("");
                            x += 1;
                        }
                        // Something was drawn over its second half, or the row ends there.
                        _ => {
                            cell.set_symbol(" ");
                        }
                    }
                }
            }
        }
    }
}

fn rows(buffer: &Buffer) -> impl Iterator<Item = &[Cell]> {
    buffer.content.chunks_exact(usize::from(buffer.area.width).max(1))
}

fn style(cell: &mut Cell, depth: ColorDepth) {
    cell.fg = degrade(cell.fg, depth);
    cell.bg = degrade(cell.bg, depth);
    cell.underline_color = Color::Reset;
    cell.diff_option = ratatui::buffer::CellDiffOption::None;
    if cell.symbol() == " " && !cell.modifier.intersects(VISIBLE_ON_BLANKS) {
        cell.fg = Color::Reset;
        cell.modifier = Modifier::empty();
    }
}

/// Modifiers that can be seen where nothing is written.
const VISIBLE_ON_BLANKS: Modifier = Modifier::UNDERLINED.union(Modifier::REVERSED).union(Modifier::CROSSED_OUT);

fn is_blank(cell: &Cell) -> bool {
    cell.symbol() == " " && cell.bg == Color::Reset && cell.modifier.is_empty()
}

/// About how many bytes a row costs when all of it must be sent.
fn weight(row: &[Cell]) -> u32 {
    row.iter().map(|it| if is_blank(it) { 0 } else { it.symbol().len() as u32 }).sum()
}

/// Multiplicative hash of a row's cells; only used to guess, so speed counts and collisions do not.
fn hash(row: &[Cell]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let color = |it: Color| match it {
        Color::Rgb(r, g, b) => u64::from_le_bytes([1, r, g, b, 0, 0, 0, 0]),
        Color::Indexed(number) => u64::from_le_bytes([2, number, 0, 0, 0, 0, 0, 0]),
        // Named colours differ in their names alone.
        other => 3 + (named_index(other) << 8),
    };
    let mut sum = 1u64;
    let mut mix = |it: u64| sum = (sum.rotate_left(5) ^ it).wrapping_mul(FACTOR);
    for cell in row {
        for chunk in cell.symbol().as_bytes().chunks(8) {
            let mut bytes = [0u8; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            mix(u64::from_le_bytes(bytes));
        }
        mix(color(cell.fg) ^ color(cell.bg).rotate_left(24) ^ (u64::from(cell.modifier.bits()) << 48));
    }
    sum
}

fn named_index(color: Color) -> u64 {
    match color {
        Color::Reset | Color::Rgb(..) | Color::Indexed(_) => 0,
        Color::Black => 1,
        Color::Red => 2,
        Color::Green => 3,
        Color::Yellow => 4,
        Color::Blue => 5,
        Color::Magenta => 6,
        Color::Cyan => 7,
        Color::Gray => 8,
        Color::DarkGray => 9,
        Color::LightRed => 10,
        Color::LightGreen => 11,
        Color::LightYellow => 12,
        Color::LightBlue => 13,
        Color::LightMagenta => 14,
        Color::LightCyan => 15,
        Color::White => 16,
    }
}

fn move_to(x: u16, y: u16, out: &mut Vec<u8>) {
    let _ = match (x, y) {
        (0, 0) => out.write_all(b"\x1b[H"),
        (0, _) => write!(out, "\x1b[{}H", y + 1),
        _ => write!(out, "\x1b[{};{}H", y + 1, x + 1),
    };
}

/// A run over the screen that knows where the terminal's cursor stands and which style it has.
struct Stroke<'a> {
    out: &'a mut Vec<u8>,
    pen: Pen,
    // `None` when not certain: at the start, behind the last column, behind a character whose width terminals dispute.
    at: Option<(u16, u16)>,
}

impl Stroke<'_> {
    fn row(&mut self, y: u16, old: &[Cell], new: &[Cell]) {
        let end = new.iter().rposition(|it| !is_blank(it)).map_or(0, |at| at + 1);
        let tail = (end..new.len()).filter(|x| old[*x] != new[*x]).count();
        let erase = tail >= ERASE_MIN;
        let send_to = if erase { end } else { new.len() };
        let mut x = 0;
        while x < send_to {
            // Cells under a wide one were sent with it.
            if old[x] != new[x] && !new[x].symbol().is_empty() {
                self.go(x as u16, y, new);
                self.put(x as u16, y, new);
            }
            x += 1;
        }
        if erase {
            self.go(end as u16, y, new);
            self.pen.change(Pen::default(), self.out);
            self.out.extend_from_slice(b"\x1b[K");
        }
    }

    fn go(&mut self, x: u16, y: u16, row: &[Cell]) {
        match self.at {
            Some(at) if at == (x, y) => {}
            Some((from, same)) if same == y && from < x => {
                let between = &row[usize::from(from)..usize::from(x)];
                let bridge =
                    x - from <= BRIDGE_MAX && between.iter().all(|it| pen_of(it) == self.pen && it.symbol().len() == 1);
                if bridge {
                    between.iter().for_each(|it| self.out.extend_from_slice(it.symbol().as_bytes()));
                } else {
                    let _ = write!(self.out, "\x1b[{}G", x + 1);
                }
            }
            Some((_, above)) if above + 1 == y && x == 0 => self.out.extend_from_slice(b"\r\n"),
            _ => move_to(x, y, self.out),
        }
        self.at = Some((x, y));
    }

    fn put(&mut self, x: u16, y: u16, row: &[Cell]) {
        let cell = &row[usize::from(x)];
        self.pen.change(pen_of(cell), self.out);
        self.out.extend_from_slice(cell.symbol().as_bytes());
        let next = x + cell.symbol().cell_width();
        self.at = Some((next, y)).filter(|_| usize::from(next) < row.len() && !glyph::disputed(cell.symbol()));
    }
}

fn pen_of(cell: &Cell) -> Pen {
    Pen { fg: cell.fg, bg: cell.bg, modifier: cell.modifier }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::style::Style;

    use super::*;

    /// A painter and an emulated terminal that gets what it writes.
    struct Bench {
        painter: Painter,
        terminal: vt100::Parser,
    }

    impl Bench {
        fn new(width: u16, height: u16) -> Self {
            Self {
                painter: Painter::new(width, height, ColorDepth::True, Glyphs::Unicode),
                terminal: vt100::Parser::new(cells(height), cells(width), 0),
            }
        }

        /// Draws rows of text and answers how many bytes it took.
        fn lines(&mut self, lines: &[String]) -> usize {
            self.frame(|buf| {
                for (y, line) in lines.iter().enumerate() {
                    buf.set_string(0, y as u16, line, Style::new());
                }
                None
            })
        }

        fn frame(&mut self, view: impl FnOnce(&mut Buffer) -> Option<Position>) -> usize {
            let mut out = Vec::new();
            self.painter.frame(&mut out, |_, buf| view(buf));
            self.terminal.process(&out);
            self.check();
            out.len()
        }

        /// The terminal shows what the painter believes it shows.
        fn check(&self) {
            let screen = self.terminal.screen();
            let area = self.painter.area();
            for y in 0..area.height {
                for x in 0..area.width {
                    let expected = &self.painter.shown[(x, y)];
                    let found = screen.cell(y, x).expect("inside");
                    let symbol = match found.contents() {
                        "" if found.is_wide_continuation() => "",
                        "" => " ",
                        other => other,
                    };
                    assert_eq!(symbol, expected.symbol(), "cell {x},{y}");
                    if !expected.symbol().is_empty() {
                        let style =
                            (vt_color(found.fgcolor()), vt_color(found.bgcolor()), found.bold(), found.inverse());
                        let bold = expected.modifier.contains(Modifier::BOLD);
                        let inverse = expected.modifier.contains(Modifier::REVERSED);
                        assert_eq!(style, (expected.fg, expected.bg, bold, inverse), "style of {x},{y}");
                    }
                }
            }
            assert_eq!(screen.hide_cursor(), self.painter.cursor.is_none());
            if let Some(at) = self.painter.cursor {
                assert_eq!(screen.cursor_position(), (at.y, at.x));
            }
        }
    }

    fn cells(it: u16) -> std::num::NonZero<u16> {
        it.try_into().expect("a screen has cells")
    }

    fn vt_color(color: vt100::Color) -> Color {
        match color {
            vt100::Color::Default => Color::Reset,
            vt100::Color::Idx(1) => Color::Red,
            vt100::Color::Idx(12) => Color::LightBlue,
            vt100::Color::Idx(other) => Color::Indexed(other),
            vt100::Color::Rgb(r, g, b) => Color::Rgb(r, g, b),
        }
    }

    fn log_line(seq: usize) -> String {
        format!(
            "14:51:{:02} E api   pool exhausted (64/64) waiting={seq} req={:08x} tenant=eu-west upstream=storage-a",
            seq % 60,
            seq * 2_654_435
        )
    }

    #[test]
    fn one_more_log_line_costs_its_own_bytes_only() {
        for (width, height, bound) in [(200, 60, 400), (80, 24, 300)] {
            let mut bench = Bench::new(width, height);
            let screen = |from: usize| {
                let mut lines: Vec<String> =
                    (0..12).map(|it| format!("{it:<10}\u{2581}\u{2582} steady row of a pane above")).collect();
                lines.extend((from..from + usize::from(height) - 16).map(log_line));
                lines.push("INCIDENT".into());
                lines
            };
            bench.lines(&screen(0));
            for from in 1..5 {
                let bytes = bench.lines(&screen(from));
                assert!(bytes < bound, "{width}x{height}: {bytes} bytes");
            }
            assert!(bench.lines(&screen(2)) < 2 * bound, "scrolling back is as cheap a line");
        }
    }

    #[test]
    fn nothing_changed_is_nothing_sent() {
        let mut bench = Bench::new(80, 24);
        let lines = vec!["a".to_string(), "\u{6570}\u{636e}".into()];
        assert!(bench.lines(&lines) > 0);
        assert_eq!(bench.lines(&lines), 0);
    }

    #[test]
    fn the_cursor_is_shown_only_where_an_input_is() {
        let mut bench = Bench::new(20, 4);
        bench.frame(|_| None);
        bench.frame(|_| Some(Position::new(3, 2)));
        let bytes = bench.frame(|_| Some(Position::new(4, 2)));
        assert_eq!(bytes, SYNC_BEGIN.len() + b"\x1b[3;5H".len() + SYNC_END.len());
        assert_eq!(bench.frame(|_| Some(Position::new(4, 2))), 0);
        bench.frame(|_| None);
        assert_eq!(bench.frame(|_| Some(Position::new(40, 2))), 0, "outside is nowhere");
    }

    #[test]
    fn a_forgotten_screen_is_painted_again_in_full() {
        let mut bench = Bench::new(20, 4);
        let lines = vec!["hello".to_string()];
        bench.lines(&lines);
        bench.terminal.process(b"\x1b[2;2Hgarbage\x1b[31;7m");
        bench.painter.forget();
        bench.lines(&lines);
        bench.painter.resize(10, 2);
        bench.terminal.screen_mut().set_size(cells(2), cells(10));
        bench.lines(&lines);
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let mut painter = Painter::new(10, 1, ColorDepth::True, Glyphs::Unicode);
        let mut out = Vec::new();
        painter.frame(&mut out, |_, buf| {
            buf[(0, 0)].set_symbol("\x1b]52;c;eA==\x07");
            buf[(1, 0)].set_symbol("\u{9b}");
            buf[(2, 0)].set_symbol("\u{202e}");
            None
        });
        let text = String::from_utf8(out).expect("text");
        assert!(
            !text.contains("]52") && !text.contains('\u{9b}') && !text.contains('\u{202e}') && !text.contains('\x07')
        );
    }

    #[test]
    fn without_colours_reverse_and_bold_stay() {
        let mut painter = Painter::new(10, 1, ColorDepth::None, Glyphs::Unicode);
        let mut out = Vec::new();
        painter.frame(&mut out, |_, buf| {
            buf.set_string(0, 0, "sel", Style::new().red().on_blue().reversed().bold());
            None
        });
        let text = out.escape_ascii().to_string();
        assert!(text.contains("\\x1b[1;7msel"), "{text}");
        assert!(!text.contains("31") && !text.contains("44"), "{text}");
    }

    fn cell_text() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-c ]{0,12}",
            1 => Just("          ".to_string()),
            1 => "(\u{6570}|\u{636e}|e\u{301}|\u{2581}|\u{1f680}|x){1,7}",
        ]
    }

    fn style_strategy() -> impl Strategy<Value = Style> {
        prop_oneof![
            3 => Just(Style::new()),
            1 => Just(Style::new().fg(Color::Red)),
            1 => Just(Style::new().fg(Color::LightBlue).bg(Color::Rgb(1, 2, 3))),
            1 => Just(Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)),
        ]
    }

    type Drawn = Vec<(u16, u16, String, Style)>;

    fn screens() -> impl Strategy<Value = Vec<(Drawn, i16)>> {
        let piece = (0u16..14, 0u16..8, cell_text(), style_strategy());
        let screen = (prop::collection::vec(piece, 0..14), -3i16..4);
        prop::collection::vec(screen, 1..6)
    }

    proptest! {
        #[test]
        fn the_terminal_shows_every_frame_whatever_was_there_before(screens in screens()) {
            let mut bench = Bench::new(14, 8);
            let mut last: Drawn = Vec::new();
            for (pieces, shift) in screens {
                // Part of the frames are the last one moved, with little new: what scrolling is for.
                if shift != 0 {
                    last = last
                        .into_iter()
                        .filter_map(|(x, y, text, style)| Some((x, y.checked_add_signed(shift)?, text, style)))
                        .filter(|it| it.1 < 8)
                        .chain(pieces.into_iter().take(2))
                        .collect();
                } else {
                    last = pieces;
                }
                bench.frame(|buf| {
                    for (x, y, text, style) in &last {
                        buf.set_string(*x, *y, text, *style);
                    }
                    None
                });
            }
        }
    }
}
