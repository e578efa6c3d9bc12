//! What is spoken on the wire, recorded: every variant once, to be understood by every later version.
//!
//! The record only grows. `HOTSEAT_UPDATE_PROTOCOL=1` adds lines for variants that are not in it yet; a line that is
//! in it is never changed or taken away, because somewhere a hotseat that says it still runs.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write as _;
use std::path::PathBuf;

use hotseat::agent::codec::{self, Decoded};
use hotseat::agent::protocol::{INBOUND_MAX_BYTES, ToAgent, ToScreen};
use hotseat::domain::board::Board;
use hotseat::domain::fact::{Actor, Envelope, Fact};
use hotseat::domain::ids::HostId;
use hotseat::domain::request::{Inbound, Request};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::support::sampler::{Sampler, said};

/// Enough to meet every enum.
const SAMPLES: usize = 1_500;
/// Enough to make every variant of them: one that was not made yet is preferred.
const SAMPLES_MAX: usize = 100 * SAMPLES;
const UPDATE: &str = "HOTSEAT_UPDATE_PROTOCOL";

fn to_agent(sampler: &mut Sampler, number: usize) -> ToAgent {
    if number.is_multiple_of(4) { sampler.make() } else { ToAgent::Request(Box::new(sampler.make::<Request>())) }
}

/// Facts are the smaller and the more numerous part of what a runtime says, so they are made more often.
fn to_screen(sampler: &mut Sampler, number: usize) -> ToScreen {
    match number % 8 {
        0 => sampler.make(),
        1..=3 => ToScreen::Inbound(Box::new(sampler.make::<Inbound>())),
        _ => {
            let (seq, actor) = (number as u64 + 1, sampler.make());
            ToScreen::Inbound(Box::new(Inbound::Fact(Box::new(envelope(seq, actor, sampler.make())))))
        }
    }
}

fn envelope(seq: u64, actor: Actor, fact: Fact) -> Envelope {
    let at = Timestamp::from_second(1_787_150_000 + i64::try_from(seq).expect("small")).expect("a time");
    Envelope { host: HostId::new("web-1"), seq, at, actor, fact }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/protocol").join(name)
}

fn decoded<T: DeserializeOwned + Debug>(line: &str) -> T {
    match codec::decode(line.as_bytes()) {
        Ok(Decoded::Frame(frame)) => frame,
        other => panic!("no longer understood: {other:?}\n{line}"),
    }
}

/// True when everything that was said is said still; more may be.
fn holds(now: &Value, recorded: &Value) -> bool {
    match (now, recorded) {
        (Value::Object(now), Value::Object(recorded)) => recorded.iter().all(|(key, value)| match now.get(key) {
            // One thing an alert waits for a notifier, in the order in which it was decided: what is made up may have
            // two, and in any order.
            Some(now) if key == "waiting" => {
                let [now, recorded] = [now, value].map(|all| {
                    let all = all.as_array().into_iter().flatten();
                    Value::Object(all.map(|it| (it["key"].to_string(), it.clone())).collect())
                });
                holds(&now, &recorded)
            }
            Some(now) => holds(now, value),
            None => value.is_null(),
        }),
        (Value::Array(now), Value::Array(recorded)) => {
            now.len() == recorded.len() && now.iter().zip(recorded).all(|(now, recorded)| holds(now, recorded))
        }
        // The last of seventeen digits is not kept.
        (Value::Number(now), Value::Number(recorded)) => {
            let (now, recorded) = (now.as_f64().unwrap_or(f64::NAN), recorded.as_f64().unwrap_or(f64::NAN));
            (now - recorded).abs() <= recorded.abs() * 1e-14
        }
        _ => now == recorded,
    }
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("JSON")
}

/// Reads a record, extends it when asked to, and makes sure that it is understood and has everything in it.
fn check<T>(name: &str, sample: impl Fn(&mut Sampler, usize) -> T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let path = file(name);
    let record = std::fs::read_to_string(&path).unwrap_or_default();
    let mut recorded = BTreeSet::new();
    for line in record.lines() {
        let frame: T = decoded(line);
        let again = json(&frame);
        let value = serde_json::from_str(line).expect("JSON");
        assert!(holds(&again, &value), "something of it is no longer said:\n{line}\nnow\n{again}");
        recorded.extend(said(&frame));
    }
    let mut sampler = Sampler::new(1);
    let mut new = Vec::new();
    for number in 0..SAMPLES_MAX {
        if number >= SAMPLES && sampler.known.is_subset(&recorded) {
            break;
        }
        sampler.made.clone_from(&recorded);
        let frame = sample(&mut sampler, number);
        let variants = said(&frame);
        if !variants.is_subset(&recorded) {
            recorded.extend(variants);
            new.push(serde_json::to_string(&frame).expect("JSON"));
        }
    }
    let unmade: Vec<_> = sampler.known.difference(&recorded).collect();
    assert!(unmade.is_empty(), "never made: {unmade:?}");
    if new.is_empty() {
        return;
    }
    assert!(std::env::var_os(UPDATE).is_some(), "not in {name} yet (set {UPDATE}=1 to add it): {new:#?}");
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("opened");
    for line in new {
        writeln!(file, "{line}").expect("written");
    }
}

#[test]
fn what_a_screen_has_ever_said_is_understood() {
    check("to-agent-1.ndjson", to_agent);
}

#[test]
fn what_a_runtime_has_ever_said_is_understood() {
    check("to-screen-1.ndjson", to_screen);
}

#[test]
fn fields_of_a_newer_hotseat_are_passed_over() {
    let record = std::fs::read_to_string(file("to-screen-1.ndjson")).expect("recorded");
    let places =
        ["/welcome", "/welcome/peer", "/welcome/visitor", "/inbound/fact", "/inbound/snapshot", "/inbound/you"];
    let mut found = BTreeSet::new();
    for line in record.lines() {
        for place in places {
            let mut value: Value = serde_json::from_str(line).expect("JSON");
            if let Some(Value::Object(object)) = value.pointer_mut(place) {
                object.insert("later".into(), serde_json::json!({"of": ["a", "newer", 1]}));
                assert_eq!(decoded::<ToScreen>(&value.to_string()), decoded(line), "{line}");
                found.insert(place);
            }
        }
    }
    assert_eq!(found, BTreeSet::from(places));
}

#[test]
fn what_is_said_is_what_is_heard() {
    let mut sampler = Sampler::new(2);
    for number in 0..SAMPLES {
        let frame = to_screen(&mut sampler, number);
        let line = codec::encode(&frame, INBOUND_MAX_BYTES).expect("said");
        assert_eq!(decoded::<ToScreen>(std::str::from_utf8(&line).expect("text")), frame);
    }
}

#[test]
fn a_board_that_is_folded_on_both_sides_of_a_wire_is_equal() {
    for seed in 0..40 {
        let mut sampler = Sampler::new(seed);
        let (mut here, mut there) = (Board::default(), Board::default());
        for seq in 1..=60 {
            let actor = sampler.make();
            let sent = envelope(seq, actor, sampler.make());
            let heard: Envelope = decoded(&serde_json::to_string(&sent).expect("JSON"));
            here.apply(sent.at, &sent);
            there.apply(heard.at, &heard);
            // Whoever was slow gets the whole, and goes on from there.
            if seq % 20 == seed % 20 {
                there = decoded(&serde_json::to_string(&here).expect("JSON"));
            }
            if seq % 10 == 0 {
                let (here, there) = (json(&here), json(&there));
                assert!(holds(&there, &here) && holds(&here, &there), "seed {seed} at {sent:?}:\n{here}\n{there}");
            }
        }
    }
}
