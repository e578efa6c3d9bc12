//! A short run of the fuzz targets: a seeded generator mutates the corpus below `fuzz/corpus`.
//!
//! The same inputs every time, so that a failure here is a failure everywhere. `cargo fuzz` goes on from
//! there, see the README.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;

#[path = "../../fuzz/src/checks.rs"]
mod checks;

/// Inputs made up for each target: the whole run takes a second or two without optimisation.
const INPUTS: usize = 800;
/// Mutations of one input, one upon the other.
const MAX_MUTATIONS: usize = 6;
/// Longer inputs are cut: what is found is found in short ones.
const MAX_BYTES: usize = 4096;

/// What parsers look for, and what they must not stumble over.
const TOKENS: &[&[u8]] = &[
    b"\x1b[31m",
    b"\x1b]0;",
    b"\x1bP",
    b"\x1b",
    b"\x07",
    b"\x9b",
    b"\xff\xfe",
    b"\xf0\x9f",
    b"\0",
    b"\r\n",
    b"\n",
    b"\n\t",
    b"\"",
    b"\\",
    b"\\u",
    b"{",
    b"}",
    b"[",
    b"[[",
    b"=",
    b":",
    b"/",
    b"~",
    b"-",
    b"<191>1 ",
    b"2026-08-19T14:30:01",
    b".999999999Z",
    b"+23:59",
    b"Feb 29 24:60:61",
    b"1e309",
    b"9223372036854775808",
    b"18446744073709551616",
    b"level>=",
    b"ERROR",
    "\u{202e}".as_bytes(),
    "\u{200b}".as_bytes(),
    "\u{300}".as_bytes(),
    "\u{212a}".as_bytes(),
    "数".as_bytes(),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|it| it.expect("folder entry").path()).collect();
    paths.sort();
    // What libFuzzer adds is left out: the run is the same on a machine that has fuzzed.
    paths.retain(|it| it.extension().is_some());
    paths.iter().map(|it| fs::read(it).expect("corpus file")).collect()
}

fn mutate(random: &mut Rng, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
    let at = random.usize(..=input.len());
    let end = (at + random.usize(..32)).min(input.len());
    match random.u8(..9) {
        0 => input.insert(at, random.u8(..)),
        1 if at < input.len() => input[at] ^= 1 << random.u8(..8),
        2 => drop(input.drain(at..end)),
        3 => {
            let piece = input[at..end].to_vec();
            drop(input.splice(at..at, piece));
        }
        4 => input.truncate(at),
        5 => {
            let other = &corpus[random.usize(..corpus.len())];
            let from = random.usize(..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        6 if at < input.len() => input[at] = *random.choice(b"0123456789 :-/\"'\\{}[]\n").unwrap_or(&b' '),
        _ => {
            let token = TOKENS[random.usize(..TOKENS.len())];
            drop(input.splice(at..at, token.iter().copied()));
        }
    }
    input.truncate(MAX_BYTES);
}

#[test]
fn every_parser_survives_what_a_seeded_generator_makes_up() {
    let mut failed = Vec::new();
    for (target, check) in checks::CHECKS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "no corpus for `{target}`");
        let mut random = Rng::with_seed(20_260_819);
        for number in 0..corpus.len() + INPUTS {
            // First the corpus as it is.
            let mut input = corpus[number % corpus.len()].clone();
            for _ in 0..if number < corpus.len() { 0 } else { random.usize(1..=MAX_MUTATIONS) } {
                mutate(&mut random, &corpus, &mut input);
            }
            if catch_unwind(|| check(&input)).is_err() {
                failed.push(format!("{target}, input {number}: \"{}\"", input.escape_ascii()));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
