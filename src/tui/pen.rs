//! Writes styles as SGR sequences, with as few bytes as the terminal's current style allows.
//!
//! Named colours go out as 30–37 and 90–97, so that a terminal with sixteen colours understands them;
//! nothing is ever sent that the colour depth does not allow.

use std::io::Write as _;

use ratatui::style::{Color, Modifier};

use crate::theme::NAMED_COLORS;
use crate::tui::capabilities::ColorDepth;

/// The style that the terminal draws with now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pen {
    /// Foreground.
    pub fg: Color,
    /// Background.
    pub bg: Color,
    /// Bold, reverse and so on.
    pub modifier: Modifier,
}

/// Modifiers with the code that sets and the code that resets them. 22 resets bold and dim together.
const MODIFIERS: [(Modifier, u8, u8); 9] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::SLOW_BLINK, 5, 25),
    (Modifier::RAPID_BLINK, 6, 25),
    (Modifier::REVERSED, 7, 27),
    (Modifier::HIDDEN, 8, 28),
    (Modifier::CROSSED_OUT, 9, 29),
];

impl Pen {
    /// Appends what turns the terminal's style into `to`.
    pub fn change(&mut self, to: Pen, out: &mut Vec<u8>) {
        if *self == to {
            return;
        }
        let from_here = steps(*self, to);
        let from_reset = steps(Pen::default(), to);
        out.extend_from_slice(b"\x1b[");
        // An empty first parameter is a 0: everything off.
        if from_reset.len() + usize::from(!from_reset.is_empty()) < from_here.len() {
            if !from_reset.is_empty() {
                out.push(b';');
                out.extend_from_slice(&from_reset);
            }
        } else {
            out.extend_from_slice(&from_here);
        }
        out.push(b'm');
        *self = to;
    }
}

fn steps(from: Pen, to: Pen) -> Vec<u8> {
    let mut codes = Vec::with_capacity(24);
    let mut code = |it: std::fmt::Arguments<'_>| {
        if !codes.is_empty() {
            codes.push(b';');
        }
        // Writing to a Vec cannot fail.
        let _ = codes.write_fmt(it);
    };
    let mut have = from.modifier;
    for (modifier, _, off) in MODIFIERS {
        if have.contains(modifier) && !to.modifier.contains(modifier) {
            code(format_args!("{off}"));
            for (other, _, other_off) in MODIFIERS {
                if other_off == off {
                    have.remove(other);
                }
            }
        }
    }
    for (modifier, on, _) in MODIFIERS {
        if to.modifier.contains(modifier) && !have.contains(modifier) {
            code(format_args!("{on}"));
        }
    }
    for (old, new, base) in [(from.fg, to.fg, 30), (from.bg, to.bg, 40)] {
        if old == new {
            continue;
        }
        match (named(new), new) {
            (Some(number @ 0..=7), _) => code(format_args!("{}", base + number)),
            (Some(number), _) => code(format_args!("{}", base + 60 + number - 8)),
            (None, Color::Indexed(number)) => code(format_args!("{};5;{number}", base + 8)),
            (None, Color::Rgb(r, g, b)) => code(format_args!("{};2;{r};{g};{b}", base + 8)),
            (None, _) => code(format_args!("{}", base + 9)),
        }
    }
    codes
}

fn named(color: Color) -> Option<u16> {
    Some(match color {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
        Color::Reset | Color::Rgb(..) | Color::Indexed(_) => return None,
    })
}

/// The sixteen named colours as xterm shows them.
const XTERM: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];

/// The steps of the 6×6×6 cube in the palette of 256.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// Brings a colour down to what may be sent.
pub fn degrade(color: Color, depth: ColorDepth) -> Color {
    match (depth, color) {
        (ColorDepth::None, _) => Color::Reset,
        (ColorDepth::True, _) => color,
        (ColorDepth::Ansi256, Color::Rgb(r, g, b)) => nearest_256(r, g, b),
        (ColorDepth::Ansi256, _) => color,
        (ColorDepth::Ansi16, Color::Rgb(r, g, b)) => nearest_16(r, g, b),
        (ColorDepth::Ansi16, Color::Indexed(number)) => match number {
            0..=15 => NAMED_COLORS[usize::from(number)],
            16..=231 => {
                let cube = |it: u8| CUBE[usize::from(it % 6)];
                nearest_16(cube((number - 16) / 36), cube((number - 16) / 6), cube(number - 16))
            }
            232..=255 => {
                let grey = (number - 232) * 10 + 8;
                nearest_16(grey, grey, grey)
            }
        },
        (ColorDepth::Ansi16, _) => color,
    }
}

fn distance(left: (u8, u8, u8), right: (u8, u8, u8)) -> u32 {
    let square = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
    square(left.0, right.0) + square(left.1, right.1) + square(left.2, right.2)
}

fn nearest_16(r: u8, g: u8, b: u8) -> Color {
    let best = (0..XTERM.len()).min_by_key(|at| distance(XTERM[*at], (r, g, b)));
    best.map_or(Color::Reset, |at| NAMED_COLORS[at])
}

fn nearest_256(r: u8, g: u8, b: u8) -> Color {
    let step = |it: u8| (0..6u8).min_by_key(|at| CUBE[usize::from(*at)].abs_diff(it)).unwrap_or(0);
    let (cr, cg, cb) = (step(r), step(g), step(b));
    let cube = (CUBE[usize::from(cr)], CUBE[usize::from(cg)], CUBE[usize::from(cb)]);
    let mean = ((u16::from(r) + u16::from(g) + u16::from(b)) / 3) as u8;
    let grey = (mean.saturating_sub(3) / 10).min(23);
    let level = grey * 10 + 8;
    if distance((level, level, level), (r, g, b)) < distance(cube, (r, g, b)) {
        Color::Indexed(232 + grey)
    } else {
        Color::Indexed(16 + 36 * cr + 6 * cg + cb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: Pen, to: Pen, expected: &str) {
        let (mut pen, mut out) = (from, Vec::new());
        pen.change(to, &mut out);
        assert_eq!((out.escape_ascii().to_string(), pen), (expected.to_string(), to));
    }

    #[test]
    fn a_change_is_written_the_short_way() {
        let plain = Pen::default();
        let red = Pen { fg: Color::Red, ..plain };
        let loud = Pen { fg: Color::LightRed, bg: Color::Indexed(235), modifier: Modifier::BOLD | Modifier::REVERSED };
        check(plain, plain, "");
        check(plain, red, "\\x1b[31m");
        check(red, plain, "\\x1b[m");
        check(loud, plain, "\\x1b[m");
        check(red, loud, "\\x1b[1;7;91;48;5;235m");
        check(loud, Pen { modifier: Modifier::BOLD, ..loud }, "\\x1b[27m");
        check(Pen { modifier: Modifier::BOLD, ..red }, Pen { modifier: Modifier::DIM, ..red }, "\\x1b[22;2m");
        check(plain, Pen { fg: Color::Rgb(1, 2, 3), bg: Color::White, ..plain }, "\\x1b[38;2;1;2;3;107m");
    }

    #[test]
    fn colours_come_down_to_the_nearest_that_may_be_sent() {
        assert_eq!(degrade(Color::Rgb(250, 10, 10), ColorDepth::Ansi16), Color::LightRed);
        assert_eq!(degrade(Color::Rgb(255, 135, 0), ColorDepth::Ansi256), Color::Indexed(208));
        assert_eq!(degrade(Color::Rgb(30, 30, 30), ColorDepth::Ansi256), Color::Indexed(234));
        assert_eq!(degrade(Color::Indexed(196), ColorDepth::Ansi16), Color::LightRed);
        assert_eq!(degrade(Color::Indexed(9), ColorDepth::Ansi16), Color::LightRed);
        assert_eq!(degrade(Color::Green, ColorDepth::None), Color::Reset);
        assert_eq!(degrade(Color::Rgb(1, 2, 3), ColorDepth::True), Color::Rgb(1, 2, 3));
    }
}
