//! The editor against a plain string, and the promises of its view.

use jiff::Timestamp;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::wrap::{column_of, rows};
use super::{Editor, Outcome};
use crate::domain::key::Key;
use crate::theme::Theme;

const WIDTH: u16 = 12;
const HEIGHT: u16 = 4;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn press(editor: &mut Editor, keys: &str) -> Outcome {
    let mut outcome = Outcome::Ignored;
    for key in keys.split_whitespace() {
        outcome = editor.key(&key.parse::<Key>().unwrap(), at(0), WIDTH, HEIGHT);
    }
    outcome
}

fn typed(editor: &mut Editor, text: &str) {
    for it in text.chars() {
        editor.key(&Key::char(it), at(0), WIDTH, HEIGHT);
    }
}

fn offset(editor: &Editor) -> usize {
    let place = editor.cursor();
    editor.buffer.lines().iter().take(place.line).map(|it| it.len() + 1).sum::<usize>() + place.byte
}

#[test]
fn undo_takes_words_back_and_redo_brings_them_again() {
    let mut editor = Editor::default();
    typed(&mut editor, "asked storage");
    press(&mut editor, "ctrl-z");
    assert_eq!(editor.text(), "asked ");
    press(&mut editor, "ctrl-_");
    assert_eq!(editor.text(), "");
    press(&mut editor, "ctrl-y alt-r");
    assert_eq!(editor.text(), "asked storage");
    typed(&mut editor, "!");
    assert_eq!(press(&mut editor, "ctrl-y"), Outcome::Moved, "a new edit ends what could be done again");
}

#[test]
fn a_pause_ends_an_undo_step() {
    let mut editor = Editor::default();
    for (second, it) in [(0, 'a'), (1, 'b'), (9, 'c')] {
        editor.key(&Key::char(it), at(second), WIDTH, HEIGHT);
    }
    editor.undo();
    assert_eq!(editor.text(), "ab");
}

#[test]
fn a_paste_of_many_lines_is_one_step_and_holds_no_escape() {
    let mut editor = Editor::default();
    typed(&mut editor, "a");
    editor.paste("one\rtwo\r\n\x1b[31mthree\x1b]0;x\x07", at(0));
    assert_eq!(editor.text(), "aone\ntwo\nthree");
    editor.undo();
    assert_eq!(editor.text(), "a");
}

#[test]
fn up_and_down_go_by_wrapped_rows_and_keep_their_column() {
    let mut editor = Editor::new("abcdefghijklmnopqrstuvw\nx\n123456789");
    press(&mut editor, "right right right right right down");
    assert_eq!(offset(&editor), 16);
    press(&mut editor, "down down");
    assert_eq!(editor.cursor().line, 1);
    press(&mut editor, "down");
    assert_eq!((editor.cursor().line, editor.cursor().byte), (2, 5), "the column comes back after a short line");
    press(&mut editor, "up up up");
    assert_eq!(offset(&editor), 16);
}

#[test]
fn kill_line_takes_the_rest_then_the_line_break() {
    let mut editor = Editor::new("ab\ncd");
    press(&mut editor, "right ctrl-k");
    assert_eq!(editor.text(), "a\ncd");
    press(&mut editor, "ctrl-k");
    assert_eq!(editor.text(), "acd");
}

#[test]
fn a_new_line_keeps_the_indent() {
    let mut editor = Editor::new("  - one");
    press(&mut editor, "end enter");
    assert_eq!(editor.text(), "  - one\n  ");
}

#[test]
fn the_cursor_is_drawn_behind_wide_characters() {
    let mut editor = Editor::new("数据库连接失败 ok");
    press(&mut editor, "right right right");
    let area = Rect::new(2, 1, WIDTH, HEIGHT);
    let mut buf = Buffer::empty(Rect::new(0, 0, 20, 8));
    let cursor = super::view::draw(&Theme::mono(), &editor, area, &mut buf);
    assert_eq!(cursor, Some(Position::new(8, 1)));
    assert_eq!(buf[(2, 2)].symbol(), "失", "eleven columns hold five wide characters, the rest wraps");
}

#[test]
fn what_a_terminal_would_act_on_is_never_drawn() {
    let editor = Editor::new("a\x1b[31mb\u{202e}c\r");
    let area = Rect::new(0, 0, 30, 2);
    let mut buf = Buffer::empty(area);
    super::view::draw(&Theme::mono(), &editor, area, &mut buf);
    let row: String = (0..30).map(|x| buf[(x, 0)].symbol()).collect();
    assert_eq!(row.trim_end(), "a·[31mb·c·");
    assert_eq!(editor.text(), "a\x1b[31mb\u{202e}c\r", "what is not edited is saved as it was");
}

#[derive(Debug, Clone)]
enum Op {
    Type(char),
    Paste(String),
    Press(&'static str),
}

const MOVES: &[&str] = &[
    "left",
    "right",
    "up",
    "down",
    "home",
    "end",
    "ctrl-a",
    "ctrl-e",
    "pgup",
    "pgdn",
    "alt-b",
    "alt-f",
    "ctrl-home",
    "ctrl-end",
];
const EDITS: &[&str] = &["enter", "tab", "backspace", "del", "ctrl-w", "alt-d", "ctrl-u", "ctrl-k"];

fn op() -> impl Strategy<Value = Op> {
    let letters = prop_oneof![
        Just('a'),
        Just(' '),
        Just('数'),
        Just('\u{301}'),
        Just('👍'),
        Just('\u{200d}'),
        Just('🇩'),
        Just('🇪'),
        any::<char>().prop_filter("typed characters are not controls", |it| !it.is_control()),
    ];
    prop_oneof![
        4 => letters.prop_map(Op::Type),
        1 => "[a-z\n 数é👍]{0,12}".prop_map(Op::Paste),
        3 => proptest::sample::select(MOVES).prop_map(Op::Press),
        2 => proptest::sample::select(EDITS).prop_map(Op::Press),
    ]
}

fn apply(editor: &mut Editor, op: &Op) {
    match op {
        Op::Type(it) => typed(editor, &it.to_string()),
        Op::Paste(text) => editor.paste(text, at(0)),
        Op::Press(key) => {
            press(editor, key);
        }
    }
}

proptest! {
    #[test]
    fn random_keys_agree_with_a_plain_string(ops in proptest::collection::vec(op(), 1..60)) {
        let mut editor = Editor::new("start 数据\n\n  end");
        for op in &ops {
            let (before, cursor) = (editor.text(), offset(&editor));
            apply(&mut editor, op);
            let (after, moved) = (editor.text(), offset(&editor));
            let expected = match op {
                Op::Type(it) => Some(format!("{}{it}{}", &before[..cursor], &before[cursor..])),
                Op::Paste(text) => Some(format!("{}{text}{}", &before[..cursor], &before[cursor..])),
                Op::Press(key) if MOVES.contains(key) => Some(before.clone()),
                // What is deleted lies on the right side of the cursor and touches it.
                Op::Press("backspace" | "ctrl-w" | "ctrl-u") => {
                    let gone = before.len() - after.len();
                    Some(format!("{}{}", &before[..cursor - gone], &before[cursor..]))
                }
                Op::Press("del" | "alt-d" | "ctrl-k") => {
                    let gone = before.len() - after.len();
                    Some(format!("{}{}", &before[..cursor], &before[cursor + gone..]))
                }
                Op::Press(_) => None,
            };
            if let Some(expected) = expected {
                prop_assert_eq!(&after, &expected, "{:?}", op);
            }
            prop_assert!(after.is_char_boundary(moved));
            let place = editor.cursor();
            let line = editor.buffer.line(place.line);
            let boundary = place.byte == line.len() || line.grapheme_indices(true).any(|(at, _)| at == place.byte);
            prop_assert!(boundary, "{:?} is inside a grapheme of {:?}", place, line);
        }
    }

    #[test]
    fn undo_to_the_start_restores_the_start_and_redo_the_end(ops in proptest::collection::vec(op(), 1..60)) {
        let start = "start 数据\n\n  end";
        let mut editor = Editor::new(start);
        for op in &ops {
            apply(&mut editor, op);
        }
        let end = editor.text();
        while editor.undo() {}
        prop_assert_eq!(editor.text(), start);
        while editor.redo() {}
        prop_assert_eq!(editor.text(), end);
    }

    #[test]
    fn rows_cover_the_line_and_are_never_too_wide(line in "[a-z 数é👍\t]{0,80}", width in 2usize..40) {
        let rows = rows(&line, width);
        prop_assert_eq!(rows.iter().map(|it| &line[it.clone()]).collect::<String>(), line.clone());
        for row in &rows {
            let text = &line[row.clone()];
            // A tab alone may be wider than a narrow row; nothing else is.
            prop_assert!(column_of(text, text.len()) <= width || text == "\t", "{:?} in {}", text, width);
            prop_assert!(text.width() <= width || text.contains('\t'));
        }
    }

    #[test]
    fn the_cursor_is_always_on_the_screen(
        ops in proptest::collection::vec(op(), 1..40), width in 2u16..30, height in 1u16..6,
    ) {
        let mut editor = Editor::new(&"some words to wrap\n".repeat(9));
        for op in &ops {
            apply(&mut editor, op);
        }
        editor.fit(width, height);
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        let cursor = super::view::draw(&Theme::mono(), &editor, area, &mut buf);
        prop_assert!(cursor.is_some_and(|it| area.contains(it)), "{:?}", cursor);
    }
}
