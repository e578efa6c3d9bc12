//! Keeps out of a cell what must not reach the terminal, and spells it in ASCII where the terminal has no more.

use ratatui::buffer::{Cell, CellWidth as _};

use crate::tui::capabilities::Glyphs;

/// Brings a cell's symbol to what may be sent and returns its width, 1 or 2.
pub fn clean(cell: &mut Cell, glyphs: Glyphs) -> u16 {
    let symbol = cell.symbol();
    if let [byte] = symbol.as_bytes() {
        if byte.is_ascii_control() {
            cell.set_symbol("?");
        }
        return 1;
    }
    if symbol.chars().any(is_forbidden) {
        // A variation selector or joiner is dropped and its base kept; anything worse stands for itself.
        let kept: String = symbol.chars().take_while(|it| !is_forbidden(*it)).collect();
        cell.set_symbol(if kept.is_empty() { "?" } else { &kept });
    }
    let width = match cell.symbol().len() {
        1 => 1,
        _ => cell.symbol().cell_width(),
    };
    if width == 0 || width > 2 {
        cell.set_symbol(" ");
        return 1;
    }
    let mut chars = cell.symbol().chars();
    let spelled = match (glyphs, chars.next()) {
        (Glyphs::Unicode, _) | (_, None) => None,
        (Glyphs::AsciiChrome | Glyphs::Ascii, Some(it)) if !it.is_ascii() => match ascii(it) {
            None if glyphs == Glyphs::Ascii => Some("?"),
            known => known,
        },
        // A base letter with marks on it: the letter.
        (Glyphs::Ascii, Some(it)) if chars.next().is_some() => {
            cell.set_char(it);
            return 1;
        }
        _ => None,
    };
    if let Some(spelled) = spelled {
        cell.set_symbol(spelled);
        return 1;
    }
    width
}

/// Terminals disagree about how many columns it takes, so the cursor must be placed anew behind it.
pub fn disputed(symbol: &str) -> bool {
    let mut chars = symbol.chars();
    let first = chars.next().map_or(0, u32::from);
    chars.next().is_some()
        || first >= 0x1_0000
        || (0x2300..0x2500).contains(&first)
        || (0x2600..0x2800).contains(&first)
}

/// Controls, and what changes the order or width of its neighbours.
fn is_forbidden(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}')
        || matches!(it, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

/// ASCII for the characters that the chrome is drawn with; one column each.
fn ascii(it: char) -> Option<&'static str> {
    Some(match it {
        '\u{2500}' | '\u{2501}' | '\u{2550}' | '\u{2504}' | '\u{2508}' | '\u{2013}' | '\u{2014}' | '\u{2212}' => "-",
        '\u{2502}' | '\u{2503}' | '\u{2551}' | '\u{2506}' | '\u{250a}' | '\u{258f}' | '\u{2595}' => "|",
        '\u{250c}'..='\u{254b}' | '\u{2552}'..='\u{256c}' | '\u{256d}'..='\u{2570}' => "+",
        '\u{2581}' => ".",
        '\u{2582}' => ":",
        '\u{2583}' => "-",
        '\u{2584}' => "=",
        '\u{2585}' => "+",
        '\u{2586}' => "*",
        '\u{2587}' | '\u{2588}' | '\u{2589}'..='\u{258c}' | '\u{2593}' => "#",
        '\u{258d}' | '\u{258e}' | '\u{2591}' | '\u{2592}' => ":",
        '\u{2713}' | '\u{2714}' => "v",
        '\u{2717}' | '\u{2718}' | '\u{d7}' => "x",
        '\u{2026}' => "~",
        '\u{b7}' | '\u{2022}' | '\u{25cf}' | '\u{25cb}' => "*",
        '\u{394}' => "d",
        '\u{2192}' | '\u{25b6}' | '\u{25b8}' | '\u{203a}' | '\u{bb}' => ">",
        '\u{2190}' | '\u{25c0}' | '\u{25c2}' | '\u{2039}' | '\u{ab}' => "<",
        '\u{2191}' | '\u{25b2}' | '\u{25b4}' => "^",
        '\u{2193}' | '\u{25bc}' | '\u{25be}' => "v",
        '\u{2018}' | '\u{2019}' => "'",
        '\u{201c}' | '\u{201d}' => "\"",
        '\u{a0}' => " ",
        '\u{b1}' => "+",
        '\u{2264}' => "<",
        '\u{2265}' => ">",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(symbol: &str, glyphs: Glyphs, expected: (&str, u16)) {
        let mut cell = Cell::EMPTY;
        cell.set_symbol(symbol);
        let width = clean(&mut cell, glyphs);
        assert_eq!((cell.symbol(), width), expected, "{symbol:?} {glyphs:?}");
    }

    #[test]
    fn chrome_is_spelled_in_ascii_and_text_only_where_it_must() {
        check("\u{2500}", Glyphs::Unicode, ("\u{2500}", 1));
        check("\u{2500}", Glyphs::AsciiChrome, ("-", 1));
        check("\u{6570}", Glyphs::AsciiChrome, ("\u{6570}", 2));
        check("\u{6570}", Glyphs::Ascii, ("?", 1));
        check("e\u{301}", Glyphs::Ascii, ("e", 1));
        check("x", Glyphs::Ascii, ("x", 1));
    }

    #[test]
    fn what_terminals_dispute_is_reduced_to_its_base() {
        check("\u{26a0}\u{fe0f}", Glyphs::Unicode, ("\u{26a0}", 1));
        check("\u{1b}[2J", Glyphs::Unicode, ("?", 1));
        check("\u{200b}", Glyphs::Unicode, ("?", 1));
        check("\u{301}", Glyphs::Unicode, (" ", 1));
    }
}
