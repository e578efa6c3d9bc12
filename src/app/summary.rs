//! What the header says: how much is red and which went first, the open incident, what is wrong with the config.

use crate::app::model::Model;
use crate::domain::board::Board;

/// Rows of the header: the counts, one more for the open incident, one more for a banner.
///
/// On a low screen the rows belong to the panes, and the header says it all in one.
pub fn header_rows(model: &Model) -> u16 {
    let (_, height) = model.size();
    let banner = u16::from(banner(model).is_some());
    match height {
        0..14 => 1,
        14..20 => 1 + banner.min(1),
        _ => 1 + banner + u16::from(ticks(&model.board)),
    }
}

/// True while a clock on the screen counts: an incident is open.
pub fn ticks(board: &Board) -> bool {
    !board.incidents.open().is_empty()
}

/// What stands in the way of doing all that the config says, in one line.
pub fn banner(model: &Model) -> Option<String> {
    let problems = model.config_problems();
    let first = problems.first().map(ToString::to_string);
    let rejected = !model.board.config.rejected.is_empty();
    match (first, problems.len()) {
        (Some(first), _) if rejected => Some(format!("changed config not taken, the old one keeps running: {first}")),
        (Some(first), 1) => Some(format!("config: {first}")),
        (Some(first), count) => Some(format!("config: {count} problems: {first}")),
        (None, _) => {
            if let Some((service, error)) = model.board.failures.first_key_value() {
                return Some(format!("{service} failed: {error}"));
            }
            let holder = model.board.standby.as_ref()?;
            Some(format!("reading only: {holder} probes and backs up here; notes work"))
        }
    }
}
