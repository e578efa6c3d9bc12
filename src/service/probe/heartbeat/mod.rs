//! `heartbeat = { every = "24h", grace = "1h" }`: something that should report, and whose silence is the alarm.
//!
//! Nothing is spoken to: each run reads the beats that have come, see [`mod@file`]. They come by `hotseat beat`, by
//! the runtime's unix socket or by HTTP, see [`serve`].

pub mod file;
pub mod serve;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock;
use crate::domain::format;
use crate::domain::probe::expect::{Field, FieldKind, FieldValue, Subjects};
use crate::domain::probe::heartbeat::{Away, Beat, Beats, Clocks, Pace, Pulse, Rhythm, Signal, Watch};
use crate::domain::probe::judge::Observation;
use crate::domain::probe::outcome::{Cause, Perf, Phase, ProbeResult, Trouble};
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::net::{Verdict, fail};
use crate::service::probe::{Observing, Probe, Run, redact};

/// Shortest period: a job that reports more often is a log.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// Longest period and grace time.
const EVERY_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// Grace time of a cron line, when nothing is said.
const GRACE: Duration = Duration::from_secs(3600);
/// Shortest grace time that is not written down.
const GRACE_MIN: Duration = Duration::from_secs(60);

/// A look that waits for a deadline comes this much behind it, and never sooner: the clock on the wall may be behind
/// the one that is waited by.
const AGAIN_MIN: Duration = Duration::from_millis(50);

/// `heartbeat` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "heartbeat",
    summary: "wait for a job to report by `hotseat beat NAME`: late, then down when it does not",
    example: "[[probe]]\nname = \"nightly-backup\"\nheartbeat = { every = \"24h\", grace = \"1h\" }\n",
    build,
};

const FIELDS: &[Field] = &[
    Field { name: "age", kind: FieldKind::Time },
    Field { name: "took", kind: FieldKind::Time },
    Field { name: "exit", kind: FieldKind::Number },
    Field { name: "output", kind: FieldKind::Text },
];

/// Reads beats.
#[derive(Debug)]
struct HeartbeatProbe {
    rhythm: Rhythm,
    watch: Mutex<Watch>,
}

impl HeartbeatProbe {
    fn new(rhythm: Rhythm) -> Self {
        Self { rhythm, watch: Mutex::default() }
    }
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        let pace = Pace::Every(read_time(node)?);
        let grace = usual_grace(&pace);
        return Some(Box::new(HeartbeatProbe::new(Rhythm { pace, grace })));
    }
    let every = node.get("every").map(|it| read_time(&it));
    let zone = node.get("zone").map(|it| read_zone(&it));
    let line = node.get("at");
    let grace = node.get("grace").map(|it| read_time(&it));
    node.finish(&[]);
    let pace = match (every, line) {
        (Some(every), None) => Pace::Every(every?),
        (None, Some(line)) => {
            let zone = zone.unwrap_or_else(|| Some(clock::zone()))?;
            match Pace::at(&line.string()?, zone) {
                Ok(pace) => pace,
                Err(message) => {
                    line.error_with_hint(message, "write minute, hour, day, month and weekday, as in `30 2 * * *`");
                    return None;
                }
            }
        }
        (every, _) => {
            let message = if every.is_some() {
                "a heartbeat has either `every` or `at`, not both"
            } else {
                "a heartbeat needs `every` or `at`"
            };
            node.error_with_hint(message, "write `every = \"24h\"`, or a cron line: `at = \"30 2 * * *\"`");
            return None;
        }
    };
    let grace = grace.unwrap_or_else(|| Some(usual_grace(&pace)))?;
    Some(Box::new(HeartbeatProbe::new(Rhythm { pace, grace })))
}

/// A job that runs once a day may be an hour late, and one that runs every hour some minutes.
fn usual_grace(pace: &Pace) -> Duration {
    match pace {
        Pace::Every(every) => (*every / 24).max(GRACE_MIN),
        Pace::At { .. } => GRACE,
    }
}

fn read_time(node: &Node<'_>) -> Option<Duration> {
    let time = node.duration()?;
    if !(EVERY_MIN..=EVERY_MAX).contains(&time) {
        node.error_with_hint("the times of a heartbeat must be from 1s to 400d", "write a duration such as `24h`");
        return None;
    }
    Some(time)
}

fn read_zone(node: &Node<'_>) -> Option<TimeZone> {
    let name = node.string()?;
    match TimeZone::get(&name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            node.error_with_hint(
                format!("there is no time zone `{}`", crate::domain::sanitise::text(&name)),
                "write a name such as `Asia/Shanghai` or `UTC`",
            );
            None
        }
    }
}

impl Probe for HeartbeatProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        Box::pin(async move {
            let mut seen = Observation::default();
            let begun = clock::monotonic();
            let (state_dir, name) = (Arc::clone(&run.place.state_dir), Arc::clone(&run.name));
            let clocks = Clocks { now: clock::now(), boot: file::boot_time() };
            let (now, then) = (clocks.now, clocks.clone());
            let reading = tokio::task::spawn_blocking(move || read_or_begin(&state_dir, &name, &then));
            seen.verdict = match tokio::time::timeout_at(run.deadline, reading).await {
                Ok(Ok(Ok(beats))) => {
                    // Nothing panics while it is held.
                    let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
                    let away = watch.look(&beats, &self.rhythm, &clocks);
                    drop(watch);
                    let turns_at = beats.turns_at(&self.rhythm, now, away);
                    seen.again = turns_at.map(|it| format::since(it, now).max(AGAIN_MIN) + AGAIN_MIN);
                    self.judge(&beats, now, away, &mut seen)
                }
                Ok(Ok(Err(error))) => Some(unread(&error.to_string())),
                Ok(Err(_)) => Some(unread("reading panicked: this is a bug in hotseat")),
                Err(_) => Some(unread("the state directory does not answer")),
            };
            seen.values.phases.add(Phase::Run, clock::monotonic() - begun);
            seen
        })
    }

    fn target(&self) -> String {
        format!("{}, grace {}", self.rhythm.pace, format::span(self.rhythm.grace))
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.rhythm.hash(&mut hasher);
    }
}

fn read_or_begin(state_dir: &std::path::Path, name: &str, clocks: &Clocks) -> std::io::Result<Beats> {
    let beats = file::read(state_dir, name, clocks)?;
    let (now, boot) = (clocks.now, clocks.boot.clone());
    let note = if beats.configured.is_none() && beats.last.is_none() {
        // From now on the first beat can be overdue. Where it cannot be noted, it stays new.
        Beat { id: "configured".into(), at: now, boot, signal: Signal::Configured, text: String::new() }
    } else if beats.is_ahead(now) {
        // Noted, not only thought: each later look must measure from the same moment.
        let id = format!("anchored {now}");
        Beat { id, at: now, boot, signal: Signal::Anchored, text: String::new() }
    } else {
        return Ok(beats);
    };
    if file::append(state_dir, name, &note).is_ok() { file::read(state_dir, name, clocks) } else { Ok(beats) }
}

fn unread(why: &str) -> Verdict {
    (ProbeResult::Unknown, Trouble::new(Cause::Own, "cannot read", format!("could not read the beats: {why}")))
}

impl HeartbeatProbe {
    fn judge(&self, beats: &Beats, now: Timestamp, away: Option<Away>, seen: &mut Observation) -> Option<Verdict> {
        let fields = &mut seen.values.fields;
        if let Some(took) = beats.took {
            fields.push(("took", FieldValue::Time(took)));
            seen.evidence.perf.push(Perf::plain("took", took.as_secs_f64(), "s"));
        }
        if let Some(last) = &beats.last {
            let age = format::since(now, last.at);
            fields.push(("age", FieldValue::Time(age)));
            fields.push(("output", FieldValue::Texts(vec![last.text.clone()])));
            seen.evidence.perf.push(Perf::plain("age", age.as_secs_f64(), "s"));
            let exit = match last.signal {
                Signal::Exit(code) => code,
                signal => i32::from(!signal.is_good()),
            };
            fields.push(("exit", FieldValue::Number(f64::from(exit))));
            seen.evidence.exit = Some(exit);
            seen.evidence.body = redact::redact(&last.text, &[]);
        }
        let said = beats.last.as_ref().map(|it| redact::evidence(&it.text, &[])).unwrap_or_default();
        let last = match beats.good {
            Some(good) => format!("last good beat {} ago", format::duration(format::since(now, good))),
            None => "no beat has ever come".to_string(),
        };
        // In a reason, which is kept, a time stays true and an age does not.
        let last_at = match beats.good {
            Some(good) => format!("last good beat at {good:.0}"),
            None => last.clone(),
        };
        let ahead = |due: Timestamp| format::duration(format::since(due, now));
        let behind = |due: Timestamp| format::duration(format::since(now, due));
        let running = beats.running_since.map(|it| format!(", running for {}", behind(it))).unwrap_or_default();
        let running_at = beats.running_since.map(|it| format!(", running since {it:.0}")).unwrap_or_default();
        let pulse = beats.pulse(&self.rhythm, now, away);
        seen.evidence.text = match pulse {
            Pulse::New { due } => format!("new: {last}, the first is due in {}{running}", ahead(due)),
            Pulse::Up { due } => format!("{last}, next due in {}{running}", ahead(due)),
            _ if said.is_empty() => format!("{last}{running}"),
            _ => said.clone(),
        };
        match pulse {
            Pulse::New { .. } | Pulse::Up { .. } => None,
            Pulse::Late { due } => {
                let (_, trouble) = fail(Cause::Silent, "late", format!("late: due at {due:.0}, {last_at}{running_at}"));
                Some((ProbeResult::Degraded, trouble))
            }
            Pulse::Missing { due } => {
                let text = format!("no beat: due at {due:.0}, grace {}, {last_at}", format::span(self.rhythm.grace));
                Some(fail(Cause::Silent, &format!("silent {}", behind(due)), text))
            }
            Pulse::Stuck { since } => {
                let text = format!(
                    "started at {since:.0} and has not ended within its grace of {}",
                    format::span(self.rhythm.grace)
                );
                Some(fail(Cause::Silent, "not ended", text))
            }
            Pulse::Failed { at, exit } => {
                let what = exit.map_or("failed".to_string(), |it| format!("exit {it}"));
                let told = exit.map_or("reported a failure".to_string(), |it| format!("ended with {it}"));
                let said = if said.is_empty() { said } else { format!(": {said}") };
                Some(fail(Cause::Exit, &what, format!("the job {told} {} ago{said}", behind(at))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::probe::heartbeat::BootTime;
    use crate::registry::node::Source;

    fn parse(entry: &str) -> Result<String, Vec<String>> {
        let source = Source::new("c.toml", entry);
        let root = source.parse().expect("TOML");
        let built = build(&root.get("heartbeat").expect("a key"));
        let errors: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
        built.filter(|_| errors.is_empty()).map(|it| it.target()).ok_or(errors)
    }

    #[test]
    fn a_clock_that_was_put_back_while_the_machine_was_off_blinds_the_dead_man_for_one_period_at_most() {
        let state = tempfile::tempdir().expect("a directory");
        let at = |hour: i64| Timestamp::from_second(1_800_000_000 + hour * 3600).expect("a time");
        let clocks = |hour: i64, boot: &str| {
            let ms = u64::try_from(hour + 1000).expect("a number") * 3_600_000;
            Clocks { now: at(hour), boot: Some(BootTime { boot: boot.into(), ms }) }
        };
        let then = clocks(0, "a");
        let beat = Beat { id: "1".into(), at: then.now, boot: then.boot, signal: Signal::Success, text: String::new() };
        file::append(state.path(), "nightly", &beat).expect("kept");
        let hour = Duration::from_secs(3600);
        let rhythm = Rhythm { pace: Pace::Every(24 * hour), grace: hour };
        let pulse = |clocks: Clocks| {
            read_or_begin(state.path(), "nightly", &clocks).expect("beats").pulse(&rhythm, clocks.now, None)
        };
        // Ten days back, and another start of the machine: how old the beat is cannot be known.
        assert_eq!(pulse(clocks(-240, "b")), Pulse::Up { due: at(-216) });
        assert_eq!(pulse(clocks(-217, "b")), Pulse::Up { due: at(-216) });
        assert_eq!(pulse(clocks(-214, "b")), Pulse::Missing { due: at(-216) });
        assert_eq!(pulse(clocks(-214, "c")), Pulse::Missing { due: at(-216) });
    }

    #[test]
    fn a_heartbeat_has_a_period_or_a_cron_line() {
        assert_eq!(parse("heartbeat = '24h'"), Ok("every 24h, grace 1h".into()));
        assert_eq!(parse("heartbeat = { every = '5m', grace = '90s' }"), Ok("every 5m, grace 1m30s".into()));
        let line = parse("heartbeat = { at = '30 2 * * *', zone = 'Asia/Shanghai' }");
        assert_eq!(line, Ok("at 30 2 * * * Asia/Shanghai, grace 1h".into()));
        for (entry, wanted) in [
            ("{ grace = '1h' }", "needs `every` or `at`"),
            ("{ every = '1h', at = '30 2 * * *' }", "either `every` or `at`, not both"),
            ("{ at = 'daily' }", "`daily` is no cron line"),
            ("{ at = '30 2 * * *', zone = 'Mars' }", "there is no time zone `Mars`"),
            ("'500d'", "from 1s to 400d"),
        ] {
            let errors = parse(&format!("heartbeat = {entry}")).expect_err(entry);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{entry}: {errors:?}");
        }
    }
}
