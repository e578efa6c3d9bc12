//! Adds to an explanation what the store remembers: older outcomes, and every attempt to deliver.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::domain::alert::delivery::Delivery;
use crate::domain::alert::explain::{Explanation, Step, outcome_step};
use crate::store::database::StoreError;
use crate::store::reader::{Reader, Trace};

/// How far before the time asked for the outcomes on disk are looked at.
const EXPLAIN_BACK: SignedDuration = SignedDuration::from_mins(30);
/// And how far behind it: attempts to send what was decided then.
const EXPLAIN_AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// Adds what the store remembers. What the explanation has already stays as it is.
///
/// # Errors
/// When the store cannot be read.
pub fn complete(explanation: &mut Explanation, reader: &mut Reader) -> Result<(), StoreError> {
    let at = explanation.at;
    let range = at.saturating_sub(EXPLAIN_BACK).unwrap_or(at)..at.saturating_add(EXPLAIN_AHEAD).unwrap_or(at);
    let trace = reader.trace(&explanation.probe, range)?;
    // The store counts in microseconds: the same outcome is not quite equal.
    let told: BTreeSet<(i64, &str)> = explanation.steps.iter().filter_map(identity).collect();
    let mut steps = steps_of(&trace, at);
    // Of an attempt that failed the policy has noted the same.
    let noted: BTreeSet<&str> =
        explanation.steps.iter().filter(|it| it.kind == "delivery").map(|it| it.text.as_str()).collect();
    steps.retain(|(_, it)| !noted.contains(it.as_str()));
    let steps: Vec<Step> = steps.into_iter().map(|(step, _)| step).collect();
    let is_new: Vec<bool> = steps.iter().map(|it| identity(it).is_none_or(|it| !told.contains(&it))).collect();
    explanation.add(steps.into_iter().zip(is_new).filter(|(_, is_new)| *is_new).map(|(step, _)| step).collect());
    Ok(())
}

fn identity(step: &Step) -> Option<(i64, &str)> {
    let at = step.at.filter(|_| step.kind == "outcome")?;
    Some((at.as_microsecond(), &step.kind))
}

/// What is on disk, as steps, each with what the policy notes of the same when it failed.
fn steps_of(trace: &Trace, at: Timestamp) -> Vec<(Step, String)> {
    let outcomes = trace.outcomes.iter().filter(|it| it.at <= at).map(|it| (outcome_step(it), String::new()));
    let attempts = trace.deliveries.iter().flat_map(|(kept, attempts)| {
        let Delivery { action, notifier, .. } = &kept.delivery;
        attempts.iter().map(move |it| {
            let (at, what) = (Some(it.ended.unwrap_or(it.at)), action.word());
            let text = format!("{what} by `{notifier}`, attempt {}: {}", it.number, it.text);
            let noted = format!("attempt {} of {what} by `{notifier}` failed: {}", it.number, it.text);
            (Step { at, kind: "delivery".into(), text }, noted)
        })
    });
    outcomes.chain(attempts).collect()
}
