//! Notices that a block of rows moved up or down, so that the terminal can move it instead of being sent it again.
//!
//! One log line more moves every row of the log pane: sending the rows costs about 9,500 bytes at 200×60,
//! a scroll region and the one new row about 300. Only hashes of rows are compared here; a wrong guess
//! costs bytes, never a wrong screen, because the cells are compared afterwards.

/// A block of full-width rows that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scroll {
    /// First row of the region.
    pub top: usize,
    /// Row after the last of the region.
    pub bottom: usize,
    /// By how many rows; at least 1 and less than the region's height.
    pub by: usize,
    /// Where to.
    pub direction: Direction,
}

/// Where a block moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the first row; the blank rows appear at the bottom.
    Up,
    /// Towards the last row; the blank rows appear at the top.
    Down,
}

/// Bytes for setting the region, moving there and resetting it.
const REGION_COST: i64 = 24;

/// Finds the scroll that saves the most, given a hash of each row before and after, and what a row costs to send.
///
/// Returns `None` when sending the changed rows is cheaper than any scroll.
pub fn find(before: &[u64], after: &[u64], cost: &[u32]) -> Option<Scroll> {
    let changed = before.iter().zip(after).filter(|(old, new)| old != new).count();
    if changed < 2 {
        return None;
    }
    let height = after.len();
    let up = best(before, after, cost);
    // Moving down is moving up with the screen upside down.
    let flip = |it: &[u64]| it.iter().rev().copied().collect::<Vec<_>>();
    let flipped_cost: Vec<u32> = cost.iter().rev().copied().collect();
    let down = best(&flip(before), &flip(after), &flipped_cost);
    let up = up.map(|(saved, top, bottom, by)| (saved, Scroll { top, bottom, by, direction: Direction::Up }));
    let down = down.map(|(saved, top, bottom, by)| {
        (saved, Scroll { top: height - bottom, bottom: height - top, by, direction: Direction::Down })
    });
    up.into_iter().chain(down).max_by_key(|(saved, _)| *saved).map(|(_, scroll)| scroll)
}

/// The best upward scroll as (bytes saved, top, bottom, by).
fn best(before: &[u64], after: &[u64], cost: &[u32]) -> Option<(i64, usize, usize, usize)> {
    let height = after.len();
    let kept = |row: usize| if before[row] == after[row] { i64::from(cost[row]) } else { 0 };
    let mut best: Option<(i64, usize, usize, usize)> = None;
    for by in 1..height {
        // The run of rows whose sum of savings is greatest (Kadane): a row counts for what sending it costs
        // when it arrives by moving, against when it stood there already.
        let (mut sum, mut top) = (0i64, 0);
        for row in 0..height - by {
            if sum <= 0 {
                (sum, top) = (0, row);
            }
            if before[row + by] == after[row] {
                sum += i64::from(cost[row]);
            }
            sum -= kept(row);
            if sum <= REGION_COST {
                continue;
            }
            // The rows that the move leaves blank must be sent, even those that had been right.
            let bottom = row + 1 + by;
            let lost: i64 = (row + 1..bottom).map(kept).sum();
            let saved = sum - lost - REGION_COST - by as i64;
            if saved > best.map_or(0, |(saved, ..)| saved) {
                best = Some((saved, top, bottom, by));
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: Option<(usize, usize, usize, Direction)>) {
        let hashes = |it: &str| it.bytes().map(u64::from).collect::<Vec<_>>();
        let cost: Vec<u32> = after.bytes().map(|it| if it == b' ' { 0 } else { 100 }).collect();
        let found = find(&hashes(before), &hashes(after), &cost).map(|it| (it.top, it.bottom, it.by, it.direction));
        assert_eq!(found, expected, "{before:?} -> {after:?}");
    }

    #[test]
    fn a_block_that_moved_is_found_and_the_rest_stays() {
        check("hdrabcdefF", "hdrbcdefgF", Some((3, 9, 1, Direction::Up)));
        check("hdrabcdefF", "hdr0abcdeF", Some((3, 9, 1, Direction::Down)));
        check("hdrabcdefF", "hdrdefxyzF", Some((3, 9, 3, Direction::Up)));
        check("abcdef", "abcdef", None);
        check("abcdef", "abcxef", None);
        check("abcdef", "uvwxyz", None);
    }

    #[test]
    fn a_row_that_only_changed_does_not_break_the_block() {
        // The selection stands on the middle row before and after.
        check("abcDefg", "bcdEfgh", Some((0, 7, 1, Direction::Up)));
    }

    #[test]
    fn blank_rows_are_not_worth_moving() {
        check("a      ", "       ", None);
    }
}
