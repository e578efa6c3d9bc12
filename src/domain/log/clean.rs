//! Rows that another host has made, without what a terminal would act on: that host said that they are clean.

use crate::domain::log::{Gap, GapKind, Row};
use crate::domain::sanitise;

impl Row {
    /// Takes out of a row that another host has made what a terminal would act on. What is known of a line that had
    /// such is dropped: its places are others now.
    pub fn clean(&mut self) {
        let clean_line = |it: &mut String| {
            let clean = sanitise::text(it);
            let is_other = clean != *it;
            if is_other {
                *it = clean;
            }
            is_other
        };
        match self {
            Row::Record(record) => {
                for (number, line) in (0..).zip(&mut record.lines) {
                    if clean_line(line) {
                        record.hits.retain(|it| it.0 != number);
                        record.styles.retain(|it| it.line != number);
                        record.time_span = record.time_span.take().filter(|_| number > 0);
                        if number == 0 {
                            record.cell_spans.clear();
                        }
                    }
                }
                for (name, value) in &mut record.fields {
                    clean_line(name);
                    clean_line(value);
                }
                for line in record.original.iter_mut().flatten() {
                    clean_line(line);
                }
            }
            Row::Gap(Gap { kind: GapKind::Failed(why) | GapKind::Broken { why, .. }, .. }) => {
                clean_line(why);
            }
            Row::Gap(_) | Row::Break => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{HostId, SourceId};
    use crate::domain::log::{Cursor, Position, Record, SgrSpan};

    #[test]
    fn what_another_host_says_carries_nothing_that_a_terminal_acts_on_and_the_rest_stays() {
        let source = SourceId::new(&HostId::new("db1"), "app");
        let cursor = Cursor::Store { nanos: 0, tie: String::new() };
        let mut row = Row::Record(Record {
            time_span: Some(0..4),
            styles: vec![SgrSpan { line: 1, range: 0..9, foreground: None, bold: true }],
            hits: vec![(0, 0..4), (1, 2..7)],
            original: Some(vec!["\u{9b}31mx".into()]),
            ..Record::new(
                Position { time: None, source, cursor },
                vec!["fine {\"a\": 1}  …".into(), "a\u{1b}[2Jb\u{202e}c\nd".into()],
            )
        });
        row.clean();
        let Row::Record(record) = row else { panic!("a record") };
        assert_eq!(record.lines, ["fine {\"a\": 1}  …", "ab·c d"]);
        assert_eq!(record.original, Some(vec!["x".into()]));
        assert_eq!((record.time_span, record.hits, record.styles), (Some(0..4), vec![(0, 0..4)], Vec::new()));
    }
}
