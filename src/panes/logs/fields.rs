//! Columns for chosen fields: their names, and how wide they are.
//!
//! Widths are measured over the loaded rows and only grow, so that a column does not jump about while lines
//! arrive and the terminal can go on moving rows as they are.

use unicode_width::UnicodeWidthStr;

use crate::app::effect::{Effect, Notice};
use crate::domain::log::Row;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::logs::LogsPane;

/// Columns at once: more leave no room for the message on any screen.
const FIELDS_MAX: usize = 8;
/// Characters of a name: longer ones are pasted text.
const NAME_MAX: usize = 64;
/// Cells of a column, at most: a request id fits, a URL is cut.
const CELLS_MAX: u16 = 24;
/// Cells of a column, at least, when the row is narrow.
const CELLS_LEAST: u16 = 3;
/// Rows of the body below which the names are left out.
const NAMES_FROM: u16 = 6;

/// The chosen fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    names: Vec<String>,
    widths: Vec<u16>,
    // The person has chosen: what the config wants does not count any more.
    chosen: bool,
}

impl Fields {
    /// The names, in the order of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Rows that the names take.
    pub fn height(&self, cx: &Context<'_>) -> u16 {
        u16::from(!self.names.is_empty() && cx.height >= NAMES_FROM)
    }

    /// Cells of each column on a row of this width: all of them leave half of it to the message.
    pub fn widths(&self, width: u16) -> Vec<u16> {
        let mut widths = self.widths.clone();
        let room = width / 2;
        while widths.iter().map(|it| it + 1).sum::<u16>() > room {
            match widths.iter_mut().max() {
                Some(widest) if *widest > CELLS_LEAST => *widest -= 1,
                _ => break,
            }
        }
        // Where even the least is too much, what was named first stays.
        while widths.iter().map(|it| it + 1).sum::<u16>() > room && !widths.is_empty() {
            widths.pop();
        }
        widths
    }

    /// Names and cells of the columns that are shown.
    pub fn columns(&self, cx: &Context<'_>) -> Vec<(&str, u16)> {
        self.names.iter().map(String::as_str).zip(self.widths(cx.width)).collect()
    }

    fn measure<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        for row in rows {
            let Row::Record(record) = row else { continue };
            for (width, cell) in self.widths.iter_mut().zip(&record.cells) {
                *width = (*width).max(u16::try_from(cell.width()).unwrap_or(u16::MAX)).min(CELLS_MAX);
            }
        }
    }
}

/// Reads `status, user` or `status user`.
///
/// # Errors
/// When there are too many, or one is no name.
pub fn parse(text: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    let words = text.split(|it: char| it == ',' || it.is_whitespace());
    for word in words.filter(|it| !it.is_empty()) {
        let name = sanitise::text(word);
        if name.chars().count() > NAME_MAX {
            return Err(format!("a field's name has at most {NAME_MAX} characters"));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() > FIELDS_MAX {
        return Err(format!("{} columns are too many: at most {FIELDS_MAX}", names.len()));
    }
    Ok(names)
}

impl LogsPane {
    /// Shows these fields as columns; none takes the columns away.
    pub fn set_fields(&mut self, cx: &Context<'_>, text: &str) -> Vec<Effect> {
        let names = match parse(text) {
            Ok(names) => names,
            Err(error) => return vec![Notice::warn(error)],
        };
        self.fields.chosen = true;
        self.show_fields(cx, names)
    }

    /// Shows the fields that the config wants for its sources, until the person chooses.
    pub(super) fn adopt_columns(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.fields.chosen {
            return Vec::new();
        }
        let mut names: Vec<String> = Vec::new();
        for name in cx.board.logs.sources.iter().flat_map(|it| &it.columns) {
            if names.len() < FIELDS_MAX && !names.contains(name) {
                names.push(name.clone());
            }
        }
        self.show_fields(cx, names)
    }

    fn show_fields(&mut self, cx: &Context<'_>, names: Vec<String>) -> Vec<Effect> {
        if names == self.fields.names {
            return Vec::new();
        }
        let width_of = |it: &String| u16::try_from(it.width()).unwrap_or(CELLS_MAX).clamp(CELLS_LEAST, CELLS_MAX);
        self.fields.widths = names.iter().map(width_of).collect();
        self.fields.names = names;
        self.settle(cx);
        self.requery(cx)
    }

    /// Fits the columns to the rows that were loaded.
    pub(super) fn measure_fields(&mut self, cx: &Context<'_>) {
        if self.fields.names.is_empty() {
            return;
        }
        let before = self.fields.widths.clone();
        self.fields.measure(self.feed.tail.rows.rows.iter().chain(&self.feed.page.rows.rows));
        if before != self.fields.widths {
            self.settle(cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::LogFact;
    use crate::panes::Pane;
    use crate::panes::logs::fixture::Desk;

    const LINES: [&str; 3] =
        ["INFO status=200 user=alice GET /", "ERROR status=502 user=wei GET /login", "INFO started"];

    #[test]
    fn chosen_fields_stand_in_columns_with_their_names_above() {
        let mut desk = Desk::new(70, 8, &LINES);
        desk.press("K \"status,user\" enter");
        insta::assert_snapshot!(desk.screen(), @r#"
        api · follow · 3 records
                    status user  message
         14:51:28 I 200    alice GET /
         14:51:29 E 502    wei   GET /login
         14:51:30 I              started
        "#);
        desk.press("K ctrl-u enter");
        assert!(desk.lines()[0].starts_with(" 14:51:28 I status=200"), "{}", desk.screen());
    }

    #[test]
    fn a_line_says_again_what_its_column_cuts_and_what_a_query_looks_for() {
        let long = "INFO user=a-name-longer-than-any-column-is in";
        let mut desk = Desk::new(100, 8, &[long, "INFO user=alice in"]);
        desk.press("K \"user\" enter");
        let lines = desk.lines();
        assert!(lines[1].ends_with("user=a-name-longer-than-any-column-is in"), "{}", desk.screen());
        assert!(lines[2].ends_with(" in") && !lines[2].contains("user="), "{}", desk.screen());
        desk.press("/ \"alice\"");
        assert!(desk.screen().contains("user=alice in"), "{}", desk.screen());
    }

    #[test]
    fn what_the_config_names_is_shown_until_the_person_chooses() {
        let mut desk = Desk::new(70, 8, &LINES);
        let source = desk.source("api");
        let fact = LogFact::Columns { source, columns: vec!["user".into()] };
        desk.board.logs.apply(&fact);
        desk.with(LogsPane::adopt_columns);
        assert!(desk.lines()[0].contains("user  message"), "{}", desk.screen());
        desk.press("K ctrl-u enter");
        desk.with(LogsPane::adopt_columns);
        assert!(!desk.screen().contains("message"), "{}", desk.screen());
    }

    #[test]
    fn a_column_grows_with_what_comes_and_does_not_shrink() {
        let mut desk = Desk::new(70, 8, &LINES);
        desk.press("K \"user\" enter");
        desk.arrives("INFO user=eve-of-the-long-names in");
        assert!(desk.screen().contains("I alice                 status=200"), "{}", desk.screen());
        desk.rows.pop();
        desk.arrives("INFO user=bob in");
        assert!(desk.screen().contains("I bob                   in"), "{}", desk.screen());
    }

    #[test]
    fn too_many_names_are_refused_while_they_are_typed() {
        let mut desk = Desk::new(70, 8, &LINES);
        desk.press("K \"a,b,c,d,e,f,g,h,i\" enter");
        assert!(desk.pane.captures_keys() && desk.screen().contains("at most 8"), "{}", desk.screen());
    }

    #[test]
    fn names_are_read_with_commas_and_blanks() {
        assert_eq!(parse(" status, user  status"), Ok(vec!["status".to_string(), "user".to_string()]));
        assert_eq!(parse(""), Ok(Vec::new()));
        assert!(parse("a b c d e f g h i").is_err_and(|it| it.contains("at most 8")));
        assert!(parse(&"x".repeat(65)).is_err());
    }

    #[test]
    fn columns_leave_half_of_the_row_to_the_message() {
        let fields = |widths: &[u16]| Fields { widths: widths.to_vec(), ..Fields::default() };
        assert_eq!(fields(&[6, 8]).widths(80), [6, 8]);
        assert_eq!(fields(&[24, 6]).widths(40), [12, 6]);
        assert_eq!(fields(&[24, 24, 24]).widths(24), [3, 3, 3]);
        assert_eq!(fields(&[24, 24, 24]).widths(16), [3, 3]);
        assert_eq!(fields(&[24]).widths(4), [] as [u16; 0]);
    }
}
