//! Turns the bytes a terminal sends into keys, pastes, mouse reports and replies.
//!
//! A pure machine over single bytes: how the bytes were split into reads cannot change what comes out.
//! Only time can, and time is told from outside: whoever reads the terminal asks [`Parser::pending`] and
//! calls [`Parser::timed_out`] when nothing followed. So an arrow key that a slow link tears into `ESC`
//! and `[A` stays an arrow key, and a lone Esc is still noticed.

use crate::app::event::{Mouse, MouseKind};
use crate::domain::key::{Key, KeyCode};

/// Bytes kept of one paste. A note of a mebibyte is a mistake of the clipboard; what follows is dropped and said so.
pub const PASTE_MAX_BYTES: usize = 1024 * 1024;
/// Bytes kept of one CSI sequence; the longest real one (a mouse report) has about 20.
const CSI_MAX_BYTES: usize = 64;
/// Bytes kept of one OSC or DCS string; the longest reply we ask for (OSC 11) has about 30.
const STRING_MAX_BYTES: usize = 256;

const PASTE_END: &[u8] = b"\x1b[201~";
const ESC: u8 = 0x1b;

/// One thing the terminal sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// A bracketed paste, whole; `cut` when it was longer than [`PASTE_MAX_BYTES`].
    Paste {
        /// The text with `\n` line ends and without other controls than tabs.
        text: String,
        /// Something was dropped from its end.
        cut: bool,
    },
    /// A mouse press or wheel turn.
    Mouse(Mouse),
    /// The terminal window got (`true`) or lost the focus.
    Focus(bool),
    /// An answer to something the screen asked.
    Reply(Reply),
}

/// An answer of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Primary device attributes; every terminal answers this one, so it fences the others.
    DeviceAttributes,
    /// A status report: all that was sent before was read.
    Status,
    /// State of a private mode: 0 unknown, 1 set, 2 reset, 3 always set, 4 always reset.
    Mode {
        /// Number of the mode.
        mode: u16,
        /// Its state.
        state: u16,
    },
    /// The background colour, 8 bits a channel.
    Background {
        /// Red.
        red: u8,
        /// Green.
        green: u8,
        /// Blue.
        blue: u8,
    },
}

/// What a parser is in the middle of; decides how long to wait for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// A bare `ESC`: the Esc key, or the start of anything.
    Esc,
    /// Inside a sequence or character: surely more was meant to come.
    Sequence,
    /// Inside a paste.
    Paste,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    Esc,
    Csi(Vec<u8>),
    /// `ESC [ [`: function keys of the Linux console.
    ConsoleKey,
    /// `ESC [ M`: an old mouse report, three bytes to swallow.
    OldMouse(u8),
    Ss3,
    /// OSC, DCS, APC, PM or SOS: `opener` is the byte after ESC.
    Str {
        opener: u8,
        body: Vec<u8>,
        esc: bool,
    },
    Utf8 {
        bytes: [u8; 4],
        have: usize,
        need: usize,
        alt: bool,
    },
    Paste {
        body: Vec<u8>,
        matched: usize,
        cut: bool,
    },
}

/// The machine. One a terminal.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
}

impl Parser {
    /// Takes bytes in and appends what they meant.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Input>) {
        for byte in bytes {
            self.byte(*byte, out);
        }
    }

    /// What the machine is in the middle of, if anything.
    pub fn pending(&self) -> Option<Pending> {
        match self.state {
            State::Ground => None,
            State::Esc => Some(Pending::Esc),
            State::Paste { .. } => Some(Pending::Paste),
            State::Csi(_)
            | State::ConsoleKey
            | State::OldMouse(_)
            | State::Ss3
            | State::Str { .. }
            | State::Utf8 { .. } => Some(Pending::Sequence),
        }
    }

    /// Nothing followed in time: what was begun is taken as it stands.
    pub fn timed_out(&mut self, out: &mut Vec<Input>) {
        match std::mem::take(&mut self.state) {
            State::Esc => out.push(Input::Key(Key::plain(KeyCode::Esc))),
            // A person pressed Alt with a character that also opens sequences.
            State::Csi(body) if body.is_empty() => out.push(alt('[')),
            State::Ss3 => out.push(alt('O')),
            State::Str { opener, body, esc: false } if body.is_empty() => out.push(alt(char::from(opener))),
            State::Paste { mut body, matched, mut cut } => {
                append(&mut body, &PASTE_END[..matched], &mut cut);
                out.push(paste(&body, cut));
            }
            State::Ground
            | State::Csi(_)
            | State::ConsoleKey
            | State::OldMouse(_)
            | State::Str { .. }
            | State::Utf8 { .. } => {}
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<Input>) {
        match std::mem::take(&mut self.state) {
            State::Ground => self.ground(byte, false, out),
            State::Esc => self.after_esc(byte, out),
            State::Csi(body) => self.csi(body, byte, out),
            State::ConsoleKey => match byte {
                b'A'..=b'E' => out.push(Input::Key(Key::plain(KeyCode::F(byte - b'A' + 1)))),
                ESC => self.state = State::Esc,
                _ => {}
            },
            State::OldMouse(left) if left > 1 => self.state = State::OldMouse(left - 1),
            State::OldMouse(_) => {}
            State::Ss3 => match byte {
                ESC => self.state = State::Esc,
                _ => out.extend(ss3(byte).map(Input::Key)),
            },
            State::Str { opener, body, esc } => self.string(opener, body, esc, byte, out),
            State::Utf8 { mut bytes, have, need, alt } => {
                if !(0x80..0xc0).contains(&byte) {
                    // The character was torn; what comes now stands for itself.
                    return self.ground(byte, false, out);
                }
                bytes[have] = byte;
                if have + 1 < need {
                    self.state = State::Utf8 { bytes, have: have + 1, need, alt };
                    return;
                }
                let it = std::str::from_utf8(&bytes[..need]).ok().and_then(|text| text.chars().next());
                if let Some(it) = it.filter(|it| !it.is_control()) {
                    out.push(Input::Key(Key { alt, ..Key::char(it) }));
                }
            }
            State::Paste { mut body, mut matched, mut cut } => {
                if byte == PASTE_END[matched] {
                    matched += 1;
                } else {
                    append(&mut body, &PASTE_END[..matched], &mut cut);
                    matched = usize::from(byte == ESC);
                    if matched == 0 {
                        append(&mut body, &[byte], &mut cut);
                    }
                }
                if matched == PASTE_END.len() {
                    out.push(paste(&body, cut));
                } else {
                    self.state = State::Paste { body, matched, cut };
                }
            }
        }
    }

    fn ground(&mut self, byte: u8, alt: bool, out: &mut Vec<Input>) {
        let mut push = |key: Key| out.push(Input::Key(Key { alt, ..key }));
        match byte {
            ESC => self.state = State::Esc,
            b'\r' => push(Key::plain(KeyCode::Enter)),
            b'\t' => push(Key::plain(KeyCode::Tab)),
            0x7f => push(Key::plain(KeyCode::Backspace)),
            0x00 => push(Key::ctrl(' ')),
            0x01..=0x1a => push(Key::ctrl(char::from(byte - 1 + b'a'))),
            0x1c..=0x1f => push(Key::ctrl(char::from(byte + 0x40))),
            0x20..=0x7e => push(Key::char(char::from(byte))),
            0xc2..=0xf4 => {
                let need = match byte {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    _ => 4,
                };
                self.state = State::Utf8 { bytes: [byte, 0, 0, 0], have: 1, need, alt };
            }
            // Bytes that begin nothing in UTF-8.
            0x80..=0xc1 | 0xf5..=0xff => {}
        }
    }

    fn after_esc(&mut self, byte: u8, out: &mut Vec<Input>) {
        match byte {
            b'[' => self.state = State::Csi(Vec::new()),
            b'O' => self.state = State::Ss3,
            b']' | b'P' | b'_' | b'^' | b'X' => {
                self.state = State::Str { opener: byte, body: Vec::new(), esc: false };
            }
            ESC => {
                out.push(Input::Key(Key::plain(KeyCode::Esc)));
                self.state = State::Esc;
            }
            _ => self.ground(byte, true, out),
        }
    }

    fn csi(&mut self, mut body: Vec<u8>, byte: u8, out: &mut Vec<Input>) {
        match byte {
            b'[' if body.is_empty() => self.state = State::ConsoleKey,
            b'M' if body.is_empty() => self.state = State::OldMouse(3),
            0x20..=0x3f => {
                // What is too long is still eaten to its end, else its tail would be typed somewhere.
                if body.len() < CSI_MAX_BYTES {
                    body.push(byte);
                }
                self.state = State::Csi(body);
            }
            b'~' if body == b"200" => self.state = State::Paste { body: Vec::new(), matched: 0, cut: false },
            0x40..=0x7e if body.len() < CSI_MAX_BYTES => out.extend(csi(&body, byte)),
            0x40..=0x7e => {}
            ESC => self.state = State::Esc,
            _ => self.ground(byte, false, out),
        }
    }

    fn string(&mut self, opener: u8, mut body: Vec<u8>, esc: bool, byte: u8, out: &mut Vec<Input>) {
        match (esc, byte) {
            (true, b'\\') | (false, 0x07) => out.extend(reply(opener, &body)),
            // Not the end of a string: it was never closed, and something else begins.
            (true, _) => self.after_esc(byte, out),
            (false, ESC) => self.state = State::Str { opener, body, esc: true },
            // CAN and SUB abort a string.
            (false, 0x18 | 0x1a) => {}
            (false, _) => {
                if body.len() < STRING_MAX_BYTES {
                    body.push(byte);
                }
                self.state = State::Str { opener, body, esc: false };
            }
        }
    }
}

fn alt(it: char) -> Input {
    Input::Key(Key { alt: true, ..Key::char(it) })
}

fn append(body: &mut Vec<u8>, bytes: &[u8], cut: &mut bool) {
    let room = PASTE_MAX_BYTES - body.len();
    *cut |= bytes.len() > room;
    body.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn paste(body: &[u8], cut: bool) -> Input {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.chars().filter(|it| matches!(it, '\n' | '\t') || !it.is_control()).collect();
    Input::Paste { text, cut }
}

fn ss3(byte: u8) -> Option<Key> {
    let code = match byte {
        b'M' => KeyCode::Enter,
        // The keypad in application mode.
        b'j'..=b'y' => KeyCode::Char(char::from(byte - 0x40)),
        b'X' => KeyCode::Char('='),
        _ => letter_key(byte)?,
    };
    Some(Key::plain(code))
}

fn letter_key(byte: u8) -> Option<KeyCode> {
    Some(match byte {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'P' => KeyCode::F(1),
        b'Q' => KeyCode::F(2),
        b'R' => KeyCode::F(3),
        b'S' => KeyCode::F(4),
        _ => return None,
    })
}

fn tilde_key(number: u16) -> Option<KeyCode> {
    Some(match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F((number - 10) as u8),
        17..=21 => KeyCode::F((number - 11) as u8),
        23 | 24 => KeyCode::F((number - 12) as u8),
        _ => return None,
    })
}

/// A key with the modifiers of xterm's parameter (1 + bits); a character's case says what Shift did.
fn modified(code: KeyCode, modifiers: u16) -> Key {
    let bits = modifiers.saturating_sub(1);
    let shift = bits & 1 != 0 && !matches!(code, KeyCode::Char(_) | KeyCode::BackTab);
    Key { code, shift, alt: bits & 2 != 0, ctrl: bits & 4 != 0 }
}

/// A key that the terminal named by its code point (`CSI code ; modifiers u`, or xterm's `CSI 27 ; m ; code ~`).
fn code_point_key(code: u16, modifiers: u16) -> Option<Key> {
    let bits = modifiers.saturating_sub(1);
    let code = match char::from_u32(u32::from(code))? {
        '\r' => KeyCode::Enter,
        '\t' if bits & 1 != 0 => KeyCode::BackTab,
        '\t' => KeyCode::Tab,
        '\u{1b}' => KeyCode::Esc,
        '\u{7f}' | '\u{8}' => KeyCode::Backspace,
        it if it.is_control() => return None,
        it if bits & 1 != 0 => KeyCode::Char(it.to_uppercase().next().unwrap_or(it)),
        it => KeyCode::Char(it),
    };
    Some(modified(code, modifiers))
}

fn csi(body: &[u8], last: u8) -> Option<Input> {
    let (private, body) = match body.first() {
        Some(it @ b'<'..=b'?') => (Some(*it), &body[1..]),
        _ => (None, body),
    };
    let digits_end = body.iter().position(|it| (0x20..0x30).contains(it)).unwrap_or(body.len());
    let (numbers, intermediates) = body.split_at(digits_end);
    // A sub-parameter (`1:3`) refines its parameter; the first part is the one that counts here.
    let numbers: Vec<u16> = numbers
        .split(|it| *it == b';')
        .map(|it| {
            let digits = it.iter().take_while(|it| it.is_ascii_digit());
            digits.fold(0u16, |sum, it| sum.saturating_mul(10).saturating_add(u16::from(it - b'0')))
        })
        .collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    match (private, intermediates, last) {
        (Some(b'<'), b"", b'M' | b'm') => mouse(number(0), number(1), number(2), last == b'M').map(Input::Mouse),
        (Some(b'?'), b"", b'c') => Some(Input::Reply(Reply::DeviceAttributes)),
        (Some(b'?'), b"$", b'y') => Some(Input::Reply(Reply::Mode { mode: number(0), state: number(1) })),
        (None, b"", b'n') if number(0) == 0 => Some(Input::Reply(Reply::Status)),
        (None, b"", b'I') => Some(Input::Focus(true)),
        (None, b"", b'O') => Some(Input::Focus(false)),
        (None, b"", b'Z') => Some(Input::Key(Key::plain(KeyCode::BackTab))),
        (None, b"", b'u') => code_point_key(number(0), number(1)).map(Input::Key),
        (None, b"", b'~') if number(0) == 27 => code_point_key(number(2), number(1)).map(Input::Key),
        (None, b"", b'~') => tilde_key(number(0)).map(|it| Input::Key(modified(it, number(1)))),
        // Shifted and controlled arrows of rxvt.
        (None, b"", b'a'..=b'd') => letter_key(last.to_ascii_uppercase()).map(|it| Input::Key(modified(it, 2))),
        (None, b"", b'^') => tilde_key(number(0)).map(|it| Input::Key(modified(it, 5))),
        // A cursor position report looks like F3; nobody asks for one, and its row is seldom 1.
        (None, b"", b'R') if number(0) > 1 => None,
        (None, b"", _) => letter_key(last).map(|it| Input::Key(modified(it, number(1)))),
        _ => None,
    }
}

fn mouse(button: u16, column: u16, row: u16, pressed: bool) -> Option<Mouse> {
    const MODIFIERS: u16 = 4 | 8 | 16;
    let kind = match (button & !MODIFIERS, pressed) {
        (0, true) => MouseKind::Press,
        (64, true) => MouseKind::WheelUp,
        (65, true) => MouseKind::WheelDown,
        _ => return None,
    };
    // Cells count from 1; a 0 is garbage.
    Some(Mouse { kind, column: column.checked_sub(1)?, row: row.checked_sub(1)? })
}

fn reply(opener: u8, body: &[u8]) -> Option<Input> {
    if opener != b']' {
        return None;
    }
    let rgb = std::str::from_utf8(body).ok()?.strip_prefix("11;rgb:")?;
    let mut channels = rgb.split('/').map(|it| {
        // One to four hex digits; the upper eight bits of what they mean.
        let value = u32::from_str_radix(it, 16).ok().filter(|_| (1..=4).contains(&it.len()))?;
        Some((value * 255 / ((1u32 << (4 * it.len())) - 1)) as u8)
    });
    let (red, green, blue) = (channels.next()??, channels.next()??, channels.next()??);
    Some(Input::Reply(Reply::Background { red, green, blue }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> Vec<Input> {
        let mut out = Vec::new();
        let mut parser = Parser::default();
        parser.feed(bytes, &mut out);
        out
    }

    fn keys(bytes: &[u8]) -> String {
        let name = |it: &Input| match it {
            Input::Key(key) => key.to_string(),
            other => format!("{other:?}"),
        };
        parse(bytes).iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_are_named_as_the_config_names_them() {
        for (bytes, expected) in [
            (&b"jG "[..], "j G space"),
            (b"\r\t\x7f\x01\x1f\x00", "enter tab backspace ctrl-a ctrl-_ ctrl-space"),
            (b"\x1b[A\x1bOB\x1b[1;5C\x1b[1;2D", "up down ctrl-right shift-left"),
            (b"\x1b[5~\x1b[6;3~\x1b[H\x1bOF\x1b[3~", "pgup alt-pgdn home end del"),
            (b"\x1bOP\x1b[15~\x1b[24~\x1b[[C\x1b[1;5S", "f1 f5 f12 f3 ctrl-f4"),
            (b"\x1bx\x1b\x7f\x1b\xc3\xa9", "alt-x alt-backspace alt-\u{e9}"),
            ("\u{6570}\u{1f680}".as_bytes(), "\u{6570} \u{1f680}"),
            (b"\x1b[Z\x1b[9;2u\x1b[97;5u\x1b[27;5;13~", "backtab backtab ctrl-a ctrl-enter"),
            (b"\x1b\x1b[A", "esc up"),
        ] {
            assert_eq!(keys(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_torn_arrow_is_an_arrow_and_a_lone_esc_is_esc() {
        let mut parser = Parser::default();
        let mut out = Vec::new();
        parser.feed(b"\x1b", &mut out);
        assert_eq!((out.len(), parser.pending()), (0, Some(Pending::Esc)));
        parser.feed(b"[A", &mut out);
        assert_eq!(out, [Input::Key(Key::plain(KeyCode::Up))]);
        parser.feed(b"\x1b", &mut out);
        parser.timed_out(&mut out);
        assert_eq!(out[1], Input::Key(Key::plain(KeyCode::Esc)));
        assert_eq!(parser.pending(), None);
    }

    #[test]
    fn alt_with_a_character_that_opens_a_sequence_is_a_key_when_nothing_follows() {
        for it in ['[', 'O', ']', 'P', '_', '^', 'X'] {
            let (mut parser, mut out) = (Parser::default(), Vec::new());
            parser.feed(format!("\x1b{it}").as_bytes(), &mut out);
            parser.timed_out(&mut out);
            assert_eq!(out, [alt(it)]);
        }
    }

    #[test]
    fn a_paste_is_one_event_whatever_it_holds() {
        let text = "one\r\ntwo\x1b[31m\x1b]52;c;eA==\x07 \u{6570}\ttab";
        let bytes = format!("\x1b[200~{text}\x1b[201~q");
        let expected = Input::Paste { text: "one\ntwo[31m]52;c;eA== \u{6570}\ttab".into(), cut: false };
        assert_eq!(parse(bytes.as_bytes()), [expected, Input::Key(Key::char('q'))]);
    }

    #[test]
    fn a_paste_past_the_bound_is_cut_and_says_so() {
        let mut bytes = b"\x1b[200~".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', PASTE_MAX_BYTES + 10));
        bytes.extend(b"\x1b[201~j");
        let out = parse(&bytes);
        assert!(matches!(&out[0], Input::Paste { text, cut: true } if text.len() == PASTE_MAX_BYTES));
        assert_eq!(out[1..], [Input::Key(Key::char('j'))]);
    }

    #[test]
    fn a_paste_that_never_ends_gives_what_came() {
        let (mut parser, mut out) = (Parser::default(), Vec::new());
        parser.feed(b"\x1b[200~abc\x1b[20", &mut out);
        assert_eq!(parser.pending(), Some(Pending::Paste));
        parser.timed_out(&mut out);
        assert_eq!(out, [Input::Paste { text: "abc[20".into(), cut: false }]);
    }

    #[test]
    fn the_mouse_reports_cells_from_zero_and_zero_is_garbage() {
        let at = |kind| Input::Mouse(Mouse { kind, column: 9, row: 4 });
        assert_eq!(
            parse(b"\x1b[<0;10;5M\x1b[<0;10;5m\x1b[<64;10;5M\x1b[<69;10;5M\x1b[<0;0;0M\x1b[<35;3;3M"),
            [at(MouseKind::Press), at(MouseKind::WheelUp), at(MouseKind::WheelDown)]
        );
        assert_eq!(keys(b"\x1b[M !!q"), "q", "an old report is swallowed");
    }

    #[test]
    fn replies_are_told_apart_from_keys() {
        assert_eq!(
            parse(b"\x1b[?2026;2$y\x1b]11;rgb:ffff/80/0\x1b\\\x1b]11;rgb:0000/0000/0000\x07\x1b[?62;22c\x1bP>|xterm\x1b\\\x1b[0nj"),
            [
                Input::Reply(Reply::Mode { mode: 2026, state: 2 }),
                Input::Reply(Reply::Background { red: 255, green: 128, blue: 0 }),
                Input::Reply(Reply::Background { red: 0, green: 0, blue: 0 }),
                Input::Reply(Reply::DeviceAttributes),
                Input::Reply(Reply::Status),
                Input::Key(Key::char('j')),
            ]
        );
    }

    #[test]
    fn focus_is_no_key() {
        assert_eq!(parse(b"\x1b[I\x1b[O"), [Input::Focus(true), Input::Focus(false)]);
    }

    #[test]
    fn a_sequence_that_is_too_long_types_nothing() {
        let mut bytes = b"\x1b[".to_vec();
        bytes.extend(std::iter::repeat_n(b'1', 500));
        bytes.extend(b"Aq");
        assert_eq!(keys(&bytes), "q");
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\x1b".to_vec()),
            Just(b"\x1b[".to_vec()),
            Just(b"\x1b]11;rgb:".to_vec()),
            Just(b"\x1b\\".to_vec()),
            Just(b"\x1b[200~".to_vec()),
            Just(b"\x1b[201~".to_vec()),
            Just(b"\x1b[<0;".to_vec()),
            Just("\u{6570}\u{e9}\u{1f680}".as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..6),
            "[0-9;?<$:A-Za-z~]{0,6}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|it| it.concat())
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same(bytes in bytes(), cuts in prop::collection::vec(0usize..80, 0..6)) {
            let whole = parse(&bytes);
            let (mut parser, mut out) = (Parser::default(), Vec::new());
            let mut cuts: Vec<usize> = cuts.iter().map(|it| (*it).min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                parser.feed(&bytes[from..to], &mut out);
                from = to;
            }
            prop_assert_eq!(&out, &whole);
            parser.timed_out(&mut out);
            prop_assert_eq!(parser.pending(), None);
            for it in &out {
                if let Input::Paste { text, .. } = it {
                    let escapes = text.contains('\u{1b}');
                    prop_assert!(!escapes);
                }
            }
        }
    }
}
