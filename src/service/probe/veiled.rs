//! A probe of whichever kind, whose config refers to what must not be shown.

use std::hash::Hasher;

use crate::domain::probe::expect::{Subjects, Values};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::Evidence;
use crate::service::probe::{Observing, Probe, Run};
use crate::service::veil::Veil;

/// Masks what the references of a probe stood for in all that the probe says.
struct Veiled {
    inner: Box<dyn Probe>,
    veil: Veil,
}

/// Puts a veil over a probe; without references it stays as it is.
pub fn veiled(inner: Box<dyn Probe>, veil: Veil) -> Box<dyn Probe> {
    if veil.is_empty() { inner } else { Box::new(Veiled { inner, veil }) }
}

impl Veiled {
    fn cover(&self, seen: &mut Observation) {
        if let Some((_, trouble)) = &mut seen.verdict {
            self.veil.trouble(trouble);
        }
        self.veil.evidence(&mut seen.evidence);
        for (name, member) in &mut seen.members {
            self.veil.cover(name);
            self.cover(member);
        }
    }
}

impl Probe for Veiled {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        Box::pin(async move {
            // What is compared stays as it was seen; what is said of it goes through `hide`.
            let mut seen = self.inner.observe(run).await;
            self.cover(&mut seen);
            seen
        })
    }

    fn target(&self) -> String {
        self.veil.text(&self.inner.target())
    }

    fn subjects(&self) -> Subjects {
        self.inner.subjects()
    }

    fn usually(&self, about: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
        self.inner.usually(about)
    }

    fn testify(&self, values: &Values, evidence: &mut Evidence) {
        self.inner.testify(values, evidence);
        self.veil.evidence(evidence);
    }

    fn hide(&self, text: &str, chars_max: usize) -> String {
        self.veil.text(&self.inner.hide(text, chars_max))
    }

    fn fingerprint(&self, hasher: &mut dyn Hasher) {
        self.inner.fingerprint(hasher);
    }
}
