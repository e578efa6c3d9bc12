//! Writes a set of names in few characters: `{eu,us}-web-{1..12}.lan`, braces as in a shell.
//!
//! Names that share a beginning or an end are written once with what differs in braces, names of which each
//! beginning goes with each end as one such product, and numbers that count up as a range. Nothing is left out:
//! what the braces expand to is the set. What would not become shorter stays as it is.

use std::collections::BTreeMap;

use crate::domain::alert::names::{Names, ranges};

/// Levels at which beginnings and ends are both tried; deeper only beginnings. Each level doubles the work, and the
/// parts of a name that say where and what it is are its first or its last.
const BOTH_LEVELS: usize = 3;
/// Names of which ends are tried at all: more than these fit no message that is worth the time.
const BOTH_MAX: usize = 1_000;
/// Parts of a name that are told apart; what a longer one has behind them is one part.
const PARTS_MAX: usize = 16;

/// Writes names, each once, in as few characters as it finds; `width` says what a text takes.
pub fn pack(names: &[String], width: &dyn Fn(&str) -> usize) -> Vec<Names> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    // What looks like our own signs would be read as something else.
    let is_odd = |it: &&str| it.contains(['{', '}', ',']) || it.contains("..");
    let (odd, plain): (Vec<&str>, Vec<&str>) = names.into_iter().partition(is_odd);
    let parts: Vec<Vec<&str>> = plain.iter().map(|it| parts(it)).collect();
    let parts: Vec<&[&str]> = parts.iter().map(Vec::as_slice).collect();
    let levels = if parts.len() > BOTH_MAX { 0 } else { BOTH_LEVELS };
    let mut packed = Packing { width }.pack(&parts, levels);
    packed.extend(odd.into_iter().map(|it| Names { text: it.to_string(), count: 1 }));
    packed
}

/// The words, the numbers and what stands between them.
fn parts(name: &str) -> Vec<&str> {
    let kind = |it: char| if it.is_ascii_digit() { 0 } else { 1 + u8::from(it.is_alphanumeric()) };
    let mut parts = Vec::new();
    let (mut begin, mut last) = (0, None);
    for (at, it) in name.char_indices() {
        if last.is_some_and(|last| last != kind(it)) && parts.len() + 1 < PARTS_MAX {
            parts.push(&name[begin..at]);
            begin = at;
        }
        last = Some(kind(it));
    }
    parts.push(&name[begin..]);
    parts
}

struct Packing<'w> {
    width: &'w dyn Fn(&str) -> usize,
}

impl Packing<'_> {
    /// Of the ways to write these the shortest.
    fn pack(&self, names: &[&[&str]], levels: usize) -> Vec<Names> {
        let flat = ranges(names.iter().map(|it| it.concat()));
        if names.len() < 2 {
            return flat;
        }
        let by_beginning = self.grouped(names, levels, End::First);
        let by_end = if levels > 0 { self.grouped(names, levels, End::Last) } else { Vec::new() };
        let ways = [flat, by_beginning, by_end].into_iter().filter(|it| !it.is_empty());
        ways.min_by_key(|it| (self.width)(&joined(it))).unwrap_or_default()
    }

    /// Writes those that share their first or last part together where that is shorter.
    fn grouped(&self, names: &[&[&str]], levels: usize, end: End) -> Vec<Names> {
        let mut by_part: BTreeMap<&str, Vec<&[&str]>> = BTreeMap::new();
        let mut packed = Vec::new();
        for name in names {
            match end.split(name) {
                Some((part, rest)) => by_part.entry(part).or_default().push(rest),
                // The whole of this name is the beginning of the others, or their end.
                None => packed.push(Names { text: String::new(), count: 1 }),
            }
        }
        // Those with the same rests become one product.
        let mut by_rests: BTreeMap<Vec<&[&str]>, Vec<&str>> = BTreeMap::new();
        for (part, mut rests) in by_part {
            rests.sort_unstable();
            by_rests.entry(rests).or_default().push(part);
        }
        for (rests, shared) in by_rests {
            let whole = |rest: &[&str], part: &str| match end {
                End::First => format!("{part}{}", rest.concat()),
                End::Last => format!("{}{part}", rest.concat()),
            };
            let flat = ranges(shared.iter().flat_map(|part| rests.iter().map(move |rest| whole(rest, part))));
            let count = rests.len() * shared.len();
            if count < 2 || rests.iter().all(|it| it.is_empty()) {
                packed.extend(flat);
                continue;
            }
            let shared = braced(&ranges(shared.into_iter().map(str::to_string)));
            let rests = braced(&self.pack(&rests, levels.saturating_sub(1)));
            let text = match end {
                End::First => format!("{shared}{rests}"),
                End::Last => format!("{rests}{shared}"),
            };
            if (self.width)(&text) < (self.width)(&joined(&flat)) {
                packed.push(Names { text, count });
            } else {
                packed.extend(flat);
            }
        }
        packed
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

impl End {
    /// The part at this end and what is left; `None` of nothing.
    fn split<'p, 'n>(self, name: &'p [&'n str]) -> Option<(&'n str, &'p [&'n str])> {
        let split = match self {
            Self::First => name.split_first(),
            Self::Last => name.split_last(),
        };
        split.map(|(part, rest)| (*part, rest))
    }
}

fn joined(names: &[Names]) -> String {
    let texts: Vec<&str> = names.iter().map(|it| it.text.as_str()).collect();
    texts.join(",")
}

/// As one of several that something stands beside.
fn braced(names: &[Names]) -> String {
    match names {
        // A product has its own braces.
        [only] if only.count == 1 || is_closed(&only.text) => only.text.clone(),
        [only] => {
            let (first, last) = only.text.rsplit_once("..").unwrap_or_default();
            let head = first.trim_end_matches(|it: char| it.is_ascii_digit());
            format!("{head}{{{}..{last}}}", &first[head.len()..])
        }
        names => format!("{{{}}}", joined(names)),
    }
}

/// True when every range of a text is in braces.
fn is_closed(text: &str) -> bool {
    let mut depth = 0_usize;
    let outside = text.chars().filter(|it| {
        match it {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    !outside.collect::<String>().contains("..")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn packed(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        joined(&pack(&names, &str::len))
    }

    /// What a text stands for.
    fn expanded(text: &str) -> Vec<String> {
        let mut depth = 0_usize;
        let mut all = vec![String::new()];
        let mut inner = String::new();
        let mut outer: Vec<Vec<String>> = Vec::new();
        for it in text.chars() {
            match it {
                '{' if depth == 0 => depth = 1,
                '}' if depth == 1 => {
                    depth = 0;
                    let options = expanded(&std::mem::take(&mut inner));
                    all = all.iter().flat_map(|it| options.iter().map(move |more| format!("{it}{more}"))).collect();
                }
                ',' if depth == 0 => outer.push(std::mem::replace(&mut all, vec![String::new()])),
                _ if depth == 0 => all.iter_mut().for_each(|text| text.push(it)),
                it => {
                    depth = if it == '{' { depth + 1 } else { depth - usize::from(it == '}') };
                    inner.push(it);
                }
            }
        }
        outer.push(all);
        outer.into_iter().flatten().flat_map(|it| counted(&it)).collect()
    }

    fn counted(name: &str) -> Vec<String> {
        let Some((first, last)) = name.split_once("..") else { return vec![name.to_string()] };
        let head = first.trim_end_matches(|it: char| it.is_ascii_digit());
        let (first, width) = (&first[head.len()..], first.len() - head.len());
        let number = |it: &str| it.parse::<u64>().expect("a number");
        (number(first)..=number(last)).map(|it| format!("{head}{it:0width$}")).collect()
    }

    #[test]
    fn what_names_share_is_written_once() {
        for (names, wanted) in [
            (&["web-1", "web-2", "web-3"][..], "web-1..3"),
            (&["payments-api", "payments-db", "cart"], "cart,payments-{api,db}"),
            (&["cart.shop.lan", "mail.shop.lan", "x"], "x,{cart,mail}.shop.lan"),
            (&["eu-web-1", "eu-web-2", "eu-web-3", "us-web-1", "us-web-2", "us-web-3"], "{eu,us}-web-{1..3}"),
            (&["checkout", "checkout-db"], "checkout{,-db}"),
            (&["a-1", "b-1"], "a-1,b-1"),
            (&["long-name,x", "long-name,y"], "long-name,x,long-name,y"),
        ] {
            assert_eq!(packed(names), wanted);
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_stands_for_the_same_names_and_is_no_longer(
            names in btree_set("(eu|us|web|db|a)?[-.]?(api|db|web)?[-.]?([0-9]{1,2})?[-.]?(x|y|lan)?", 1..40),
        ) {
            let names: BTreeSet<String> = names.into_iter().filter(|it| !it.is_empty() && !it.contains("..")).collect();
            let list: Vec<String> = names.iter().cloned().collect();
            let packed = pack(&list, &str::len);
            let text = joined(&packed);
            let back: Vec<String> = if list.is_empty() { Vec::new() } else { expanded(&text) };
            prop_assert_eq!(back.len(), names.len(), "{}", text);
            prop_assert_eq!(back.into_iter().collect::<BTreeSet<_>>(), names.clone(), "{}", text);
            prop_assert_eq!(packed.iter().map(|it| it.count).sum::<usize>(), names.len());
            prop_assert!(text.len() <= list.join(",").len());
        }
    }
}
