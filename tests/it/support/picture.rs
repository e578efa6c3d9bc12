//! A screen as a picture: a buffer of cells to SVG text, and SVG to PNG.
//!
//! Every letter has an x of its own, so that a font whose letters are a little wider, or a wide character
//! from another font, moves nothing behind it. Lines and blocks are drawn as shapes: glyphs of them leave gaps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use ratatui::buffer::{Buffer, Cell as BufferCell};
use ratatui::layout::Position;
use ratatui::style::{Color, Modifier};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Family, Query};
use resvg::usvg::{Options, Tree};
use unicode_width::UnicodeWidthStr as _;

/// The font of everything but wide characters.
pub const FONT: &str = "DejaVu Sans Mono";
/// The font of wide characters.
pub const WIDE_FONT: &str = "Noto Sans Mono CJK SC";

const CELL_WIDTH: u16 = 9;
const CELL_HEIGHT: u16 = 19;
const FONT_SIZE: u16 = 15;
/// From the top of a cell to the line that letters stand on.
const BASELINE: u16 = 15;
const MARGIN: u16 = 12;
/// Pixels of the PNG for one unit of the SVG.
const ZOOM: f32 = 1.5;

const INK: Rgb = Rgb(0xd4, 0xd7, 0xdd);
const GROUND: Rgb = Rgb(0x16, 0x19, 0x20);

/// The sixteen colours of a terminal whose owner chose them with some care.
const NAMED: [Rgb; 16] = [
    Rgb(0x16, 0x19, 0x20),
    Rgb(0xe5, 0x55, 0x5f),
    Rgb(0x7f, 0xc0, 0x6e),
    Rgb(0xe2, 0xb5, 0x54),
    Rgb(0x3d, 0x74, 0xc7),
    Rgb(0xc0, 0x84, 0xdc),
    Rgb(0x4f, 0xb8, 0xc4),
    Rgb(0xd4, 0xd7, 0xdd),
    Rgb(0x6b, 0x73, 0x82),
    Rgb(0xf2, 0x77, 0x7a),
    Rgb(0x9f, 0xd8, 0x8c),
    Rgb(0xf0, 0xcf, 0x7e),
    Rgb(0x74, 0xa8, 0xf0),
    Rgb(0xd7, 0xa6, 0xee),
    Rgb(0x7d, 0xd5, 0xde),
    Rgb(0xff, 0xff, 0xff),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rgb(u8, u8, u8);

impl Rgb {
    fn of(color: Color, default: Rgb) -> Self {
        let named = |index: usize| NAMED[index];
        match color {
            Color::Reset => default,
            Color::Black => named(0),
            Color::Red => named(1),
            Color::Green => named(2),
            Color::Yellow => named(3),
            Color::Blue => named(4),
            Color::Magenta => named(5),
            Color::Cyan => named(6),
            Color::Gray => named(7),
            Color::DarkGray => named(8),
            Color::LightRed => named(9),
            Color::LightGreen => named(10),
            Color::LightYellow => named(11),
            Color::LightBlue => named(12),
            Color::LightMagenta => named(13),
            Color::LightCyan => named(14),
            Color::White => named(15),
            Color::Rgb(r, g, b) => Rgb(r, g, b),
            Color::Indexed(index) => indexed(index),
        }
    }

    /// Half-way to the ground, as terminals draw dim letters.
    fn dim(self, ground: Rgb) -> Self {
        let mix = |ink: u8, ground: u8| ((u16::from(ink) * 11 + u16::from(ground) * 9) / 20) as u8;
        Rgb(mix(self.0, ground.0), mix(self.1, ground.1), mix(self.2, ground.2))
    }

    fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// The 6×6×6 cube and the greys behind the named colours.
fn indexed(index: u8) -> Rgb {
    let level = |it: u8| if it == 0 { 0 } else { 55 + it * 40 };
    match index {
        0..16 => NAMED[usize::from(index)],
        16..232 => {
            let cube = index - 16;
            Rgb(level(cube / 36), level(cube / 6 % 6), level(cube % 6))
        }
        232.. => Rgb(8 + (index - 232) * 10, 8 + (index - 232) * 10, 8 + (index - 232) * 10),
    }
}

/// How a cell looks when all its attributes are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    ink: Rgb,
    bold: bool,
    italic: bool,
    wide: bool,
}

fn colours(cell: &BufferCell) -> (Rgb, Rgb) {
    let (mut ink, mut ground) = (Rgb::of(cell.fg, INK), Rgb::of(cell.bg, GROUND));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut ink, &mut ground);
    }
    if cell.modifier.contains(Modifier::DIM) {
        ink = ink.dim(ground);
    }
    (ink, ground)
}

/// The ground of every cell of a row; that of a wide letter also lies below its second cell.
fn grounds(buf: &Buffer, row: u16) -> Vec<Rgb> {
    let mut grounds = Vec::with_capacity(usize::from(buf.area.width));
    while grounds.len() < usize::from(buf.area.width) {
        let cell = &buf[(buf.area.x + grounds.len() as u16, buf.area.y + row)];
        let end = (grounds.len() + cell.symbol().width().max(1)).min(usize::from(buf.area.width));
        grounds.resize(end, colours(cell).1);
    }
    grounds
}

/// Draws the cells, and a frame where the cursor stands.
pub fn svg(buf: &Buffer, cursor: Option<Position>) -> String {
    let (columns, rows) = (buf.area.width, buf.area.height);
    let (width, height) = (columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN);
    // The margin is the ground that most of the screen has.
    let mut counts: BTreeMap<Rgb, usize> = BTreeMap::new();
    for ground in (0..rows).flat_map(|row| grounds(buf, row)) {
        *counts.entry(ground).or_default() += 1;
    }
    let paper = counts.iter().max_by_key(|(_, count)| **count).map_or(GROUND, |(ground, _)| *ground);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"{FONT}, Menlo, Consolas, monospace\" font-size=\"{FONT_SIZE}\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{}\"/>\n",
        paper.hex()
    );
    for y in 0..rows {
        draw_row(buf, y, paper, &mut out);
    }
    if let Some(at) = cursor {
        let (x, y) = (MARGIN + at.x * CELL_WIDTH, MARGIN + at.y * CELL_HEIGHT);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL_WIDTH}\" height=\"{CELL_HEIGHT}\" fill=\"none\" stroke=\"{}\"/>",
            INK.hex()
        );
    }
    out.push_str("</svg>\n");
    out
}

fn draw_row(buf: &Buffer, row: u16, paper: Rgb, out: &mut String) {
    let top = MARGIN + row * CELL_HEIGHT;
    let cell = |x: u16| &buf[(buf.area.x + x, buf.area.y + row)];
    let mut x = 0;
    for run in grounds(buf, row).chunk_by(|one, next| one == next) {
        let width = run.len() as u16;
        if run[0] != paper {
            rect(out, MARGIN + x * CELL_WIDTH, top, width * CELL_WIDTH, CELL_HEIGHT, run[0], 1.0);
        }
        x += width;
    }
    let mut texts: BTreeMap<Look, (Vec<String>, String)> = BTreeMap::new();
    let mut lines: BTreeMap<Rgb, String> = BTreeMap::new();
    let mut x = 0;
    while x < buf.area.width {
        let it = cell(x);
        let symbol = it.symbol();
        let cells = (symbol.width() as u16).max(1);
        let (ink, ground) = colours(it);
        let left = MARGIN + x * CELL_WIDTH;
        if let Some(path) = box_lines(symbol, left, top) {
            lines.entry(ink).or_default().push_str(&path);
        } else if let Some((block, opacity)) = block(symbol) {
            let [dx, dy, w, h] = block;
            rect(out, left + dx, top + dy, w, h, ink, opacity);
        } else if !symbol.trim().is_empty() {
            let wide = cells > 1;
            let look = Look {
                ink,
                bold: it.modifier.contains(Modifier::BOLD),
                italic: it.modifier.contains(Modifier::ITALIC),
                wide,
            };
            // A wide letter is as wide as the font is high, which is less than two cells.
            let inset = if wide { (2 * CELL_WIDTH - FONT_SIZE) / 2 } else { 0 };
            let (places, text) = texts.entry(look).or_default();
            // A mark that combines with the letter before stands where that stands.
            places.extend(symbol.chars().map(|_| (left + inset).to_string()));
            text.push_str(&escape(symbol));
        }
        for (modifier, dy) in [(Modifier::UNDERLINED, CELL_HEIGHT - 3), (Modifier::CROSSED_OUT, CELL_HEIGHT / 2)] {
            if it.modifier.contains(modifier) && ink != ground {
                rect(out, left, top + dy, cells * CELL_WIDTH, 1, ink, 1.0);
            }
        }
        x += cells;
    }
    for (ink, path) in lines {
        let _ = writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"{}\"/>", ink.hex());
    }
    for (look, (places, text)) in texts {
        let family = if look.wide { format!(" font-family=\"{WIDE_FONT}, monospace\"") } else { String::new() };
        let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
        let slant = if look.italic { " font-style=\"italic\"" } else { "" };
        let (y, ink, places) = (top + BASELINE, look.ink.hex(), places.join(" "));
        let _ = writeln!(out, "<text y=\"{y}\" fill=\"{ink}\"{weight}{slant}{family} x=\"{places}\">{text}</text>");
    }
}

fn rect(out: &mut String, x: u16, y: u16, width: u16, height: u16, fill: Rgb, opacity: f32) {
    let opacity = if opacity < 1.0 { format!(" fill-opacity=\"{opacity}\"") } else { String::new() };
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{}\"{opacity} shape-rendering=\"crispEdges\"/>",
        fill.hex()
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Lines from the middle of the cell to its edges.
fn box_lines(symbol: &str, left: u16, top: u16) -> Option<String> {
    let (up, down, west, east) = match symbol {
        "─" => (false, false, true, true),
        "│" => (true, true, false, false),
        "┌" | "╭" => (false, true, false, true),
        "┐" | "╮" => (false, true, true, false),
        "└" | "╰" => (true, false, false, true),
        "┘" | "╯" => (true, false, true, false),
        "├" => (true, true, false, true),
        "┤" => (true, true, true, false),
        "┬" => (false, true, true, true),
        "┴" => (true, false, true, true),
        "┼" => (true, true, true, true),
        _ => return None,
    };
    // Half a unit more puts a line of one unit on whole units.
    let (x, y) = (f32::from(left + CELL_WIDTH / 2) + 0.5, f32::from(top + CELL_HEIGHT / 2) + 0.5);
    let mut path = String::new();
    for (there, command) in [
        (up, format!("V{top}")),
        (down, format!("V{}", top + CELL_HEIGHT)),
        (west, format!("H{left}")),
        (east, format!("H{}", left + CELL_WIDTH)),
    ] {
        if there {
            let _ = write!(path, "M{x} {y}{command}");
        }
    }
    Some(path)
}

/// The filled part of the cell as x, y, width and height, and how much of the ink it takes.
fn block(symbol: &str) -> Option<([u16; 4], f32)> {
    let mut letters = symbol.chars();
    let (letter, None) = (letters.next()?, letters.next()) else {
        return None;
    };
    let code = letter as u16;
    let part = |whole: u16, eighths: u16| (whole * eighths + 4) / 8;
    Some(match letter {
        '▀' => ([0, 0, CELL_WIDTH, part(CELL_HEIGHT, 4)], 1.0),
        '▁'..='█' => {
            let height = part(CELL_HEIGHT, code - 0x2580);
            ([0, CELL_HEIGHT - height, CELL_WIDTH, height], 1.0)
        }
        '▉'..='▏' => ([0, 0, part(CELL_WIDTH, 0x2590 - code), CELL_HEIGHT], 1.0),
        '▐' => ([part(CELL_WIDTH, 4), 0, CELL_WIDTH - part(CELL_WIDTH, 4), CELL_HEIGHT], 1.0),
        '░' => ([0, 0, CELL_WIDTH, CELL_HEIGHT], 0.25),
        '▒' => ([0, 0, CELL_WIDTH, CELL_HEIGHT], 0.5),
        '▓' => ([0, 0, CELL_WIDTH, CELL_HEIGHT], 0.75),
        _ => return None,
    })
}

/// The fonts of this machine, read once; the name of one that is missing.
pub fn fonts() -> Result<Arc<Database>, &'static str> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = Database::new();
        fonts.load_system_fonts();
        Arc::new(fonts)
    });
    for name in [FONT, WIDE_FONT] {
        if fonts.query(&Query { families: &[Family::Name(name)], ..Query::default() }).is_none() {
            return Err(name);
        }
    }
    Ok(Arc::clone(fonts))
}

/// Paints the SVG.
pub fn paint(svg: &str, fonts: Arc<Database>) -> Pixmap {
    let options = Options { fontdb: fonts, ..Options::default() };
    let tree = Tree::from_str(svg, &options).expect("our own SVG is valid");
    let size = tree.size().to_int_size().scale_by(ZOOM).expect("a screen has a size");
    let mut pixmap = Pixmap::new(size.width(), size.height()).expect("a screen has a size");
    resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut pixmap.as_mut());
    pixmap
}
