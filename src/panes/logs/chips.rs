//! The stack of filter chips as it is worked on with keys: selected, switched, edited, removed.

use crate::domain::log::Level;
use crate::domain::query::{Chip, ChipKind, Comparison, Query, QueryError};

/// Chips in a stack: a title row shows no more, and each costs time on every record.
const CHIPS_MAX: usize = 32;

/// The stack of filter chips and which one is selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chips {
    query: Query,
    selected: Option<usize>,
}

impl Chips {
    /// Reads the text form of a whole stack.
    pub fn parse(text: &str) -> Result<Self, String> {
        let query = Query::parse(text).map_err(|error| error.to_string())?;
        Self { query, selected: None }.bounded()
    }

    /// Reads what a person wrote.
    pub fn typed(text: &str) -> Result<Self, String> {
        let query = Query::typed(text).map_err(|error| error.to_string())?;
        Self { query, selected: None }.bounded()
    }

    /// The text form of the chips that are switched on: what is asked for.
    pub fn query(&self) -> String {
        Query { chips: self.query.chips.iter().filter(|it| it.enabled).cloned().collect() }.to_string()
    }

    /// The text form of the whole stack, what is switched off too.
    pub fn text(&self) -> String {
        self.query.to_string()
    }

    /// The place of a chip among those that are switched on, which are what is asked for.
    pub fn place_among_active(&self, at: usize) -> Option<usize> {
        self.query.chips.get(at).filter(|it| it.enabled)?;
        Some(self.query.chips[..at].iter().filter(|it| it.enabled).count())
    }

    /// For every chip that is switched on: what it says, and the query of the others.
    pub fn without_each(&self) -> Vec<(String, String)> {
        let enabled: Vec<&Chip> = self.query.chips.iter().filter(|it| it.enabled).collect();
        let without = |(at, chip): (usize, &&Chip)| {
            let others = enabled.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, it)| (*it).clone());
            (chip.to_string(), Query { chips: others.collect() }.to_string())
        };
        enabled.iter().enumerate().map(without).collect()
    }

    /// All chips.
    pub fn all(&self) -> &[Chip] {
        &self.query.chips
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.query.chips.is_empty()
    }

    /// How many are switched on.
    pub fn active(&self) -> usize {
        self.query.chips.iter().filter(|it| it.enabled).count()
    }

    /// What the newest chip that is switched on says.
    pub fn newest(&self) -> Option<String> {
        self.query.chips.iter().rev().find(|it| it.enabled).map(Chip::to_string)
    }

    /// Index of the selected chip.
    pub fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// Selects none.
    pub fn deselect(&mut self) {
        self.selected = None;
    }

    /// Selects the chip after or before; from none it is the first or the last.
    pub fn select_next(&mut self, step: i32) {
        let count = self.query.chips.len();
        self.selected = match self.selected {
            _ if count == 0 => None,
            None if step > 0 => Some(0),
            None => Some(count - 1),
            Some(at) if step > 0 => Some((at + 1) % count),
            Some(at) => Some((at + count - 1) % count),
        };
    }

    /// Switches the selected chip on or off.
    pub fn toggle(&mut self) {
        if let Some(chip) = self.selected_mut() {
            chip.enabled = !chip.enabled;
        }
    }

    /// Makes the selected chip keep out what it kept in, or the reverse.
    pub fn invert(&mut self) {
        if let Some(chip) = self.selected_mut() {
            chip.out = !chip.out;
        }
    }

    /// Removes the selected chip, or the newest; the selection goes to the one after it.
    pub fn remove(&mut self) {
        let Some(at) = self.selected.or(self.query.chips.len().checked_sub(1)) else { return };
        self.query.chips.remove(at);
        let last = self.query.chips.len().checked_sub(1);
        self.selected = self.selected.and_then(|at| last.map(|last| at.min(last)));
    }

    /// Moves the selected chip one place towards the end, or towards the beginning.
    pub fn shift(&mut self, step: i32) {
        let Some(at) = self.selected else { return };
        let Some(to) = (if step > 0 { at.checked_add(1) } else { at.checked_sub(1) }) else { return };
        if to < self.query.chips.len() {
            self.query.chips.swap(at, to);
            self.selected = Some(to);
        }
    }

    /// Puts a chip on top; one that is there already is switched on instead.
    ///
    /// # Errors
    /// When there are too many.
    pub fn push(&self, chip: Chip) -> Result<Self, String> {
        let mut chips = self.clone();
        match chips.query.chips.iter_mut().find(|it| it.kind == chip.kind && it.out == chip.out) {
            Some(known) => known.enabled = true,
            None => chips.query.chips.push(chip),
        }
        chips.bounded()
    }

    /// These chips behind those of another stack.
    ///
    /// # Errors
    /// When there are too many.
    pub fn on_top_of(self, below: &Self) -> Result<Self, String> {
        self.query.chips.into_iter().try_fold(below.clone(), |stack, chip| stack.push(chip))
    }

    /// Removes all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Shows this level and above, or every level.
    pub fn set_level(&mut self, level: Option<Level>) {
        let is_level = |chip: &Chip| matches!(chip.kind, ChipKind::Level(..)) && !chip.out;
        let at = self.query.chips.iter().position(is_level);
        self.query.chips.retain(|chip| !is_level(chip));
        self.selected = None;
        if let Some(level) = level {
            // A new one goes on top, where `x` finds it; a changed one stays where it was.
            let at = at.unwrap_or(usize::MAX).min(self.query.chips.len());
            self.query.chips.insert(at, Chip::keep(ChipKind::Level(Comparison::AtLeast, level)));
        }
    }

    /// Shows only records between two times; takes the place of times that were kept before.
    pub fn set_times(&mut self, since: &str, until: &str) {
        let is_time = |chip: &Chip| matches!(chip.kind, ChipKind::Since(_) | ChipKind::Until(_)) && !chip.out;
        let at = self.query.chips.iter().position(is_time);
        self.query.chips.retain(|chip| !is_time(chip));
        self.selected = None;
        let at = at.unwrap_or(usize::MAX).min(self.query.chips.len());
        let pair = [ChipKind::Since(since.to_string()), ChipKind::Until(until.to_string())].map(Chip::keep);
        self.query.chips.splice(at..at, pair);
    }

    /// Shows only records of this source; takes the place of a source that was kept before.
    pub fn set_source(&mut self, name: &str) {
        let is_source = |chip: &Chip| matches!(chip.kind, ChipKind::Source(_)) && !chip.out;
        let at = self.query.chips.iter().position(is_source);
        self.query.chips.retain(|chip| !is_source(chip));
        self.selected = None;
        let at = at.unwrap_or(usize::MAX).min(self.query.chips.len());
        self.query.chips.insert(at, Chip::keep(ChipKind::Source(name.to_string())));
    }

    /// The text to edit a chip by, and whether it keeps out.
    pub fn editable(&self, at: usize) -> (String, bool) {
        let Some(chip) = self.query.chips.get(at) else { return (String::new(), false) };
        let plain = match &chip.kind {
            ChipKind::Text(text) | ChipKind::Regex(text) => {
                Query::typed(text).ok().filter(|it| it.chips == [Chip::keep(chip.kind.clone())]).map(|_| text)
            }
            _ => None,
        };
        (plain.cloned().unwrap_or_else(|| chip.kind.to_string()), chip.out)
    }

    /// The stack with what was typed: as new chips on top, or in the place of chip `at`.
    pub fn with(&self, at: Option<usize>, out: bool, text: &str) -> Result<Self, String> {
        // Blanks at the ends of plain text are meant: `GET /1 ` is not `GET /12`.
        let text = if text.trim().is_empty() { "" } else { text };
        let enabled = at.and_then(|at| self.query.chips.get(at)).is_none_or(|it| it.enabled);
        let typed = Query::typed(text).map_err(|error| in_words(&error, text))?.chips;
        let added =
            typed.into_iter().map(|it| Chip { out: it.out != out, enabled: it.enabled && enabled, ..it }).collect();
        self.spliced(at, added)
    }

    /// As [`Chips::with`], for a text that is a query.
    pub fn with_query(&self, at: Option<usize>, text: &str) -> Result<Self, String> {
        let added = Query::parse(text).map_err(|error| in_words(&error, text))?.chips;
        match at {
            Some(_) => self.spliced(at, added),
            None => Self { query: Query { chips: added }, selected: None }.on_top_of(self),
        }
    }

    fn spliced(&self, at: Option<usize>, added: Vec<Chip>) -> Result<Self, String> {
        let mut chips = self.clone();
        match at.filter(|at| *at < chips.query.chips.len()) {
            Some(at) => drop(chips.query.chips.splice(at..=at, added)),
            None => chips.query.chips.extend(added),
        }
        chips.selected = chips.selected.filter(|at| *at < chips.query.chips.len());
        chips.bounded()
    }

    fn selected_mut(&mut self) -> Option<&mut Chip> {
        self.query.chips.get_mut(self.selected?)
    }

    fn bounded(self) -> Result<Self, String> {
        if self.query.chips.len() > CHIPS_MAX {
            return Err(format!("{} filter chips are too many: at most {CHIPS_MAX}", self.query.chips.len()));
        }
        Ok(self)
    }
}

/// A mistake in words, with the part of the text that it is about when that is not all of it.
fn in_words(error: &QueryError, text: &str) -> String {
    match text.get(error.range.clone()).map(str::trim) {
        Some(part) if !part.is_empty() && part != text.trim() && !error.message.contains(part) => {
            format!("at `{part}`: {error}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_typed(text: &str, out: bool, expected: &str) {
        let chips = Chips::default().with(None, out, text);
        assert_eq!(chips.map(|it| it.query()), Ok(expected.to_string()), "{text}");
    }

    #[test]
    fn typed_text_means_what_fingers_expect() {
        check_typed("pool exhausted", false, "\"pool exhausted\"");
        check_typed("10.0.0.1", true, "-10.0.0.1");
        check_typed("pool.*(64|128)", false, "/pool.*(64|128)/");
        check_typed("level>=warn", false, "level>=warn");
        check_typed("-healthz", false, "-healthz");
        check_typed(" level=info", false, "level=info");
        check_typed("source:api timeout", false, "source:api timeout");
        check_typed("orders/12 ", false, "\"orders/12 \"");
        check_typed("timeout level>=warn", false, "timeout level>=warn");
        check_typed("two words", false, "\"two words\"");
        check_typed("  ", false, "");
    }

    #[test]
    fn a_bad_regex_says_so_and_how_to_search_for_the_text() {
        let error = Chips::default().with(None, false, "pool(").expect_err("an open group");
        assert!(error.contains("unclosed group") && error.contains("quote it"), "{error}");
    }

    #[test]
    fn what_is_edited_comes_back_as_it_was_typed() {
        for text in ["pool exhausted", "a|b", "10.0.0.1", "level>=warn", "\"-x\"", "/plain/"] {
            let chips = Chips::default().with(None, true, text).expect("a valid chip");
            let (edited, out) = chips.editable(0);
            assert_eq!(chips.with(Some(0), out, &edited), Ok(chips.clone()), "{text} {edited}");
        }
    }

    #[test]
    fn a_chip_is_moved_and_stops_at_the_ends() {
        let mut chips = Chips::parse("a b ~c").expect("valid");
        chips.select_next(1);
        chips.shift(-1);
        assert_eq!(chips.text(), "a b ~c");
        chips.shift(1);
        chips.shift(1);
        chips.shift(1);
        assert_eq!((chips.text().as_str(), chips.selected()), ("b ~c a", Some(2)));
        assert_eq!((chips.place_among_active(1), chips.place_among_active(2)), (None, Some(1)));
        assert_eq!(chips.push(Chip::keep(ChipKind::Text("c".into()))).map(|it| it.text()), Ok("\"b\" c a".into()));
    }

    #[test]
    fn one_level_replaces_another() {
        let mut chips = Chips::parse("timeout -level=debug").expect("valid");
        chips.set_level(Some(Level::Warn));
        chips.set_level(Some(Level::Error));
        assert_eq!(chips.query(), "timeout -level=debug level>=error");
        chips.set_level(None);
        assert_eq!(chips.query(), "timeout -level=debug");
    }

    #[test]
    fn removing_moves_the_selection_to_what_is_left() {
        let mut chips = Chips::parse("a b c").expect("valid");
        chips.select_next(-1);
        chips.remove();
        assert_eq!((chips.query().as_str(), chips.selected()), ("\"a\" b", Some(1)));
        chips.toggle();
        assert_eq!(chips.query(), "a");
        chips.deselect();
        chips.remove();
        chips.remove();
        chips.remove();
        assert!(chips.is_empty());
    }
}
