//! Three-way merge by line: two people edited one document.

/// The outcome of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// Both edits are in it.
    Clean(String),
    /// Both edits are in it, with the places where they meet between marks.
    Conflict(String),
}

/// Begins the part that is yours.
pub const MARK_OURS: &str = "<<<<<<< yours";
/// Stands between the two.
pub const MARK_BETWEEN: &str = "=======";
/// Ends the part that was on disk.
pub const MARK_THEIRS: &str = ">>>>>>> on disk";

/// Cells of the table that compares two texts; past that everything between the common ends is one conflict.
/// 2,000 changed lines against 2,000.
const TABLE_MAX: usize = 4_000_000;

/// Merges two texts that both come from `base`.
pub fn merge(base: &str, ours: &str, theirs: &str) -> Merged {
    if ours == theirs || base == theirs {
        return Merged::Clean(ours.to_string());
    }
    if base == ours {
        return Merged::Clean(theirs.to_string());
    }
    let (base, ours, theirs) = (lines(base), lines(ours), lines(theirs));
    let to_ours = matches(&base, &ours);
    let to_theirs = matches(&base, &theirs);
    let mut out = String::new();
    let mut conflict = false;
    let (mut at, mut at_ours, mut at_theirs) = (0, 0, 0);
    loop {
        // The next base line that both kept ends the part in which they differ.
        let anchor = (at..base.len()).find(|it| to_ours[*it].is_some() && to_theirs[*it].is_some());
        let (end, end_ours, end_theirs) = match anchor {
            Some(it) => (it, to_ours[it].unwrap_or(ours.len()), to_theirs[it].unwrap_or(theirs.len())),
            None => (base.len(), ours.len(), theirs.len()),
        };
        let (was, our, their) = (&base[at..end], &ours[at_ours..end_ours], &theirs[at_theirs..end_theirs]);
        if our == their || their == was {
            push(&mut out, our);
        } else if our == was {
            push(&mut out, their);
        } else {
            conflict = true;
            end_line(&mut out);
            out.push_str(MARK_OURS);
            out.push('\n');
            push(&mut out, our);
            end_line(&mut out);
            out.push_str(MARK_BETWEEN);
            out.push('\n');
            push(&mut out, their);
            end_line(&mut out);
            out.push_str(MARK_THEIRS);
            out.push('\n');
        }
        let Some(anchor) = anchor else { break };
        push(&mut out, &base[anchor..=anchor]);
        (at, at_ours, at_theirs) = (anchor + 1, end_ours + 1, end_theirs + 1);
    }
    if conflict { Merged::Conflict(out) } else { Merged::Clean(out) }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn push(out: &mut String, lines: &[&str]) {
    for line in lines {
        // The last line of one text may lack its newline and yet not be last here.
        end_line(out);
        out.push_str(line);
    }
}

fn end_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

/// For each line of `left`, the line of `right` that it is, in a longest common subsequence.
fn matches(left: &[&str], right: &[&str]) -> Vec<Option<usize>> {
    let mut found = vec![None; left.len()];
    let start = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let rest = left.len().min(right.len()) - start;
    let end = left.iter().rev().zip(right.iter().rev()).take(rest).take_while(|(left, right)| left == right).count();
    for (at, slot) in found.iter_mut().enumerate().take(start) {
        *slot = Some(at);
    }
    for back in 1..=end {
        found[left.len() - back] = Some(right.len() - back);
    }
    let (left_mid, right_mid) = (&left[start..left.len() - end], &right[start..right.len() - end]);
    let width = right_mid.len() + 1;
    if (left_mid.len() + 1).saturating_mul(width) > TABLE_MAX {
        return found;
    }
    let mut table = vec![0u32; (left_mid.len() + 1) * width];
    for i in (0..left_mid.len()).rev() {
        for j in (0..right_mid.len()).rev() {
            table[i * width + j] = if left_mid[i] == right_mid[j] {
                table[(i + 1) * width + j + 1] + 1
            } else {
                table[(i + 1) * width + j].max(table[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < left_mid.len() && j < right_mid.len() {
        if left_mid[i] == right_mid[j] {
            found[start + i] = Some(start + j);
            i += 1;
            j += 1;
        } else if table[(i + 1) * width + j] >= table[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "# title\n\n## impact\n\n## done\n";

    #[test]
    fn edits_of_different_places_meet_without_a_conflict() {
        let ours = BASE.replace("## impact\n", "## impact\nusers see 502\n");
        let theirs = BASE.replace("## done\n", "## done\nswitched over\n");
        let expected = "# title\n\n## impact\nusers see 502\n\n## done\nswitched over\n";
        assert_eq!(merge(BASE, &ours, &theirs), Merged::Clean(expected.into()));
    }

    #[test]
    fn edits_of_one_place_keep_both_texts() {
        let ours = BASE.replace("# title", "# mine");
        let theirs = BASE.replace("# title", "# yours");
        let Merged::Conflict(text) = merge(BASE, &ours, &theirs) else { panic!("no conflict") };
        assert!(text.starts_with("<<<<<<< yours\n# mine\n=======\n# yours\n>>>>>>> on disk\n\n## impact"), "{text}");
    }

    #[test]
    fn a_missing_last_newline_joins_no_lines() {
        let merged = merge("a", "a\nmine", "theirs\na");
        assert_eq!(merged, Merged::Conflict("<<<<<<< yours\na\nmine\n=======\ntheirs\na\n>>>>>>> on disk\n".into()));
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["a", "b", "c", "d"], 0..8)
            .prop_map(|it| it.iter().map(|it| format!("{it}\n")).collect())
    }

    proptest! {
        #[test]
        fn no_line_that_somebody_added_is_lost(base in text(), ours in text(), theirs in text()) {
            let merged = match merge(&base, &ours, &theirs) {
                Merged::Clean(it) | Merged::Conflict(it) => it,
            };
            for side in [&ours, &theirs] {
                for line in side.lines().filter(|it| !base.lines().any(|was| was == *it)) {
                    prop_assert!(merged.lines().any(|it| it == line), "{} is lost in {}", line, merged);
                }
            }
        }

        #[test]
        fn one_sided_edits_are_taken_as_they_are(base in text(), edit in text()) {
            prop_assert_eq!(merge(&base, &edit, &base), Merged::Clean(edit.clone()));
            prop_assert_eq!(merge(&base, &base, &edit), Merged::Clean(edit.clone()));
        }
    }
}
