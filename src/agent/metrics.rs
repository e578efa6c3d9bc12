//! What is known, for a Prometheus: the text format 0.0.4, by the conventions for names and units.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. Every series has a name of the config in its labels
//! and nothing else that grows, so a page is as large as the config; past [`ENTRIES_MAX`] of a kind the rest is
//! counted in `hotseat_left_out`. Values are read from the board when they are asked for: nothing is counted for
//! nobody.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::domain::board::Board;
use crate::domain::log::SourceState;
use crate::domain::probe::ProbeState;
use crate::domain::probe::health::Health;
use crate::domain::probe::tally::{PROBES_MAX, Tallies, Tally};
use crate::domain::sanitise;
use crate::runtime::observer::Vitals;

/// Entries of a kind that are shown: a config of 1 MiB holds hardly more.
pub const ENTRIES_MAX: usize = 2_000;
/// Bytes of a label's value.
const LABEL_MAX: usize = 200;

/// What the agent knows of itself beside the board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Since when it runs.
    pub since: Timestamp,
    /// When the last beat was taken.
    pub beat_at: Option<Timestamp>,
    /// Beats that were not taken since.
    pub beat_failures: u32,
}

/// Writes the page.
pub fn render(board: &Board, tallies: &Tallies, vitals: &Vitals, own: &Own, now: Timestamp) -> String {
    let mut page = Page::default();
    itself(&mut page, board, vitals, own, now);
    page.sample(&[("kind", "histogram")], board.probes.len().saturating_sub(PROBES_MAX) as f64);
    probes(&mut page, board);
    histograms(&mut page, tallies);
    alerts(&mut page, board, vitals);
    backups(&mut page, board);
    logs(&mut page, board);
    page.text
}

fn itself(page: &mut Page, board: &Board, vitals: &Vitals, own: &Own, now: Timestamp) {
    page.gauge("hotseat_build_info", "Version of the running hotseat.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.gauge("hotseat_start_time_seconds", "When it was started, since the epoch.");
    page.sample(&[], seconds(own.since));
    page.gauge("hotseat_healthy", "Whether a part does its work, as /healthz says.");
    for (part, vital) in vitals.parts() {
        page.sample(&[("part", part)], flag(vital.is_well()));
    }
    page.gauge("hotseat_scheduler_lag_seconds", "How long the runtime took to turn to this question.");
    page.sample(&[], vitals.lag.as_secs_f64());
    page.gauge("hotseat_store_durable", "Whether what is decided is kept over a restart.");
    page.sample(&[], flag(board.not_durable.is_none()));
    page.gauge("hotseat_config_mistakes", "Entries that were left out of the running config.");
    page.sample(&[], board.config.errors.len() as f64);
    page.gauge("hotseat_config_rejected", "Whether a changed config was refused and the one before runs.");
    page.sample(&[], flag(!board.config.rejected.is_empty()));
    page.gauge("hotseat_screens_attached", "Screens that are attached.");
    page.sample(&[], board.presence.len() as f64);
    page.gauge("hotseat_incidents_open", "Incidents that are open.");
    page.sample(&[], board.incidents.open().len() as f64);
    if let Some(at) = own.beat_at {
        page.gauge("hotseat_beat_last_success_timestamp_seconds", "When the dead man's switch last took a beat.");
        page.sample(&[], seconds(at));
    }
    page.gauge("hotseat_beat_consecutive_failures", "Beats that were not taken since the last one that was.");
    page.sample(&[], f64::from(own.beat_failures));
    page.gauge("hotseat_time_seconds", "The time here, to tell a clock that is off.");
    page.sample(&[], seconds(now));
    page.gauge("hotseat_left_out", "Entries that are not on this page because there are too many.");
    let counts = [
        ("probe", board.probes.len()),
        ("backup", board.backups.jobs.len()),
        ("log", board.logs.sources.len()),
        ("notifier", board.alerts.notifiers().len()),
    ];
    for (kind, count) in counts {
        page.sample(&[("kind", kind)], count.saturating_sub(ENTRIES_MAX) as f64);
    }
}

fn probes(page: &mut Page, board: &Board) {
    type Value = fn(&ProbeState) -> Option<f64>;
    let all = || board.probes.iter().take(ENTRIES_MAX);
    page.gauge("hotseat_probe_info", "What a probe is.");
    for (id, state) in all() {
        let group = state.setup.rules.group.as_deref().unwrap_or_default();
        let severity = state.setup.rules.severity.word();
        let labels = [("probe", id.name()), ("kind", &state.setup.kind), ("group", group), ("severity", severity)];
        page.sample(&labels, 1.0);
    }
    page.gauge("hotseat_probe_health", "1 for the health that a probe has.");
    for (id, state) in all() {
        for health in [Health::Up, Health::Degraded, Health::Suspect, Health::Down, Health::Unknown] {
            page.sample(&[("probe", id.name()), ("health", health.word())], flag(state.health() == health));
        }
    }
    let values: [(&str, &str, &str, Value); 9] = [
        ("hotseat_probe_up", "gauge", "1 unless the probe is down; missing while nothing is known.", |it| {
            (it.health() != Health::Unknown).then(|| flag(it.health() != Health::Down))
        }),
        ("hotseat_probe_state_since_timestamp_seconds", "gauge", "Since when its health is what it is.", |it| {
            it.since().map(seconds)
        }),
        ("hotseat_probe_last_run_timestamp_seconds", "gauge", "When its last run began.", |it| {
            it.last().map(|it| seconds(it.at))
        }),
        ("hotseat_probe_duration_seconds", "gauge", "How long its last run took.", |it| {
            it.last().map(|it| it.total().as_secs_f64())
        }),
        ("hotseat_probe_lag_seconds", "gauge", "How late its last run began, by this host's own fault.", |it| {
            it.last().map(|it| it.lag.as_secs_f64())
        }),
        ("hotseat_probe_missed_runs_total", "counter", "Runs that were due and did not happen.", |it| {
            Some(it.missed as f64)
        }),
        ("hotseat_probe_acknowledged", "gauge", "Whether somebody has seen that it is not up.", |it| {
            Some(flag(it.acked.is_some()))
        }),
        ("hotseat_probe_flapping", "gauge", "Whether it turns to and fro.", |it| Some(flag(it.flapping().is_some()))),
        (
            "hotseat_probe_certificate_expiry_timestamp_seconds",
            "gauge",
            "When the certificate of its last run expires.",
            |it| Some(seconds(it.last()?.evidence.certificate.as_ref()?.not_after)),
        ),
    ];
    for (name, kind, help, value) in values {
        page.family(name, kind, help);
        for (id, state) in all() {
            if let Some(value) = value(state) {
                page.sample(&[("probe", id.name())], value);
            }
        }
    }
    page.gauge("hotseat_probe_phase_duration_seconds", "How long each phase of its last run took.");
    for (id, state) in all() {
        for (phase, took) in state.last().into_iter().flat_map(|it| it.phases.happened()) {
            page.sample(&[("probe", id.name()), ("phase", phase.word())], took.as_secs_f64());
        }
    }
}

/// By the bounds of [`crate::domain::probe::tally::BOUNDS`].
fn histograms(page: &mut Page, tallies: &Tallies) {
    page.family("hotseat_probe_run_seconds", "histogram", "How long runs took since the start of the agent.");
    for (id, tally) in tallies.iter() {
        page.histogram(&[("probe", id.name())], &tally.total);
    }
    page.family("hotseat_probe_phase_seconds", "histogram", "How long each phase of runs took since the start.");
    for (id, tally) in tallies.iter() {
        for (phase, tally) in &tally.phases {
            page.histogram(&[("probe", id.name()), ("phase", phase.word())], tally);
        }
    }
}

fn alerts(page: &mut Page, board: &Board, vitals: &Vitals) {
    page.gauge("hotseat_alerts", "Alerts that last: told, acknowledged by somebody, or held back.");
    let mut counts = [0_u32; 3];
    for alert in board.alerts.alerts().filter(|it| it.ended.is_none()) {
        let state = if alert.acked.is_some() { 1 } else { usize::from(alert.withheld.is_some()) * 2 };
        counts[state] += 1;
    }
    for (state, count) in ["told", "acknowledged", "held"].into_iter().zip(counts) {
        page.sample(&[("state", state)], f64::from(count));
    }
    page.gauge("hotseat_notifications_pending", "Notifications that are decided and not sent yet.");
    page.sample(&[], vitals.pulse.open as f64);
    if let Some(oldest) = vitals.pulse.oldest {
        page.gauge("hotseat_notifications_oldest_timestamp_seconds", "When the oldest pending one was decided.");
        page.sample(&[], seconds(oldest));
    }
    let all = || board.alerts.notifiers().iter().take(ENTRIES_MAX);
    page.gauge("hotseat_notifier_consecutive_failures", "Attempts that failed since the last one that did not.");
    for (name, state) in all() {
        page.sample(&[("notifier", name)], f64::from(state.failures));
    }
    page.gauge("hotseat_notifier_last_success_timestamp_seconds", "When a notifier last took a message.");
    for (name, at) in all().filter_map(|(name, it)| Some((name, it.sent_at?))) {
        page.sample(&[("notifier", name)], seconds(at));
    }
    page.gauge("hotseat_notifier_last_failure_timestamp_seconds", "When a notifier last did not.");
    for (name, at) in all().filter_map(|(name, it)| Some((name, it.failed_at?))) {
        page.sample(&[("notifier", name)], seconds(at));
    }
}

fn backups(page: &mut Page, board: &Board) {
    let all = || board.backups.jobs.iter().take(ENTRIES_MAX);
    page.gauge("hotseat_backup_last_run_success", "Whether the newest run of a job succeeded.");
    for (job, run) in all().filter_map(|it| Some((it, it.newest()?))) {
        page.sample(&[("job", job.info.id.name())], flag(run.state.has_artefact()));
    }
    page.gauge("hotseat_backup_running", "Whether a job runs.");
    for job in all() {
        page.sample(&[("job", job.info.id.name())], flag(board.backups.at_work() == Some(&job.info.id)));
    }
    page.gauge("hotseat_backup_last_success_timestamp_seconds", "Of when the newest good copy of a job is.");
    for (job, run) in all().filter_map(|it| Some((it, it.newest_good()?))) {
        page.sample(&[("job", job.info.id.name())], seconds(run.data_at()));
    }
    page.gauge("hotseat_backup_last_success_duration_seconds", "How long it took.");
    for (job, took) in all().filter_map(|it| Some((it, it.newest_good()?.duration_ms?))) {
        page.sample(&[("job", job.info.id.name())], took as f64 / 1e3);
    }
    page.gauge("hotseat_backup_last_success_size_bytes", "How large it is as stored.");
    for (job, bytes) in all().filter_map(|it| Some((it, it.newest_good()?.stored_bytes?))) {
        page.sample(&[("job", job.info.id.name())], bytes as f64);
    }
    page.gauge("hotseat_backup_next_run_timestamp_seconds", "When a job runs next.");
    for (job, next) in all().filter_map(|it| Some((it, it.next?))) {
        page.sample(&[("job", job.info.id.name())], seconds(next));
    }
}

fn logs(page: &mut Page, board: &Board) {
    let all = || board.logs.sources.iter().take(ENTRIES_MAX);
    page.gauge("hotseat_log_size_bytes", "Bytes of a log that can be read.");
    for source in all() {
        page.sample(&[("log", &source.name), ("source", source.id.name())], source.size_bytes as f64);
    }
    page.family("hotseat_log_gaps_total", "counter", "Times that something was missing from a log.");
    for source in all() {
        page.sample(&[("log", &source.name), ("source", source.id.name())], f64::from(source.gaps));
    }
    page.gauge("hotseat_log_connected", "Whether lines of a log can arrive.");
    for source in all() {
        let is_connected = matches!(source.state, SourceState::Connected | SourceState::Lagging { .. });
        page.sample(&[("log", &source.name), ("source", source.id.name())], flag(is_connected));
    }
}

/// The text, and the family that samples are added to.
#[derive(Default)]
struct Page {
    text: String,
    name: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.name = name.to_string();
    }

    fn histogram(&mut self, labels: &[(&str, &str)], tally: &Tally) {
        for (bound, count) in tally.buckets() {
            let bound = bound.map_or_else(|| "+Inf".to_string(), |it| it.as_secs_f64().to_string());
            self.series("_bucket", &[labels, &[("le", &bound)]].concat(), count as f64);
        }
        self.series("_sum", labels, tally.sum().as_secs_f64());
        self.series("_count", labels, tally.count() as f64);
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.series("", labels, value);
    }

    fn series(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"{}\"", if at == 0 { '{' } else { ',' }, label(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

/// A label's value: harmless, short, with what the format asks for escaped.
fn label(value: &str) -> String {
    let clean = sanitise::text(value);
    let end = clean.char_indices().map(|(at, it)| at + it.len_utf8()).take_while(|it| *it <= LABEL_MAX).last();
    clean[..end.unwrap_or_default()].replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fact::{Actor, Envelope, Fact};
    use crate::domain::ids::{HostId, SourceId};
    use crate::domain::log::LogFact;

    #[test]
    fn a_label_is_escaped_and_bounded() {
        assert_eq!(label("a\"b\\c\nd\u{1b}[2Je"), "a\\\"b\\\\c de");
        assert_eq!(label(&"ü".repeat(LABEL_MAX)).len(), LABEL_MAX);
    }

    #[test]
    fn a_page_is_as_large_as_the_config_and_no_larger() {
        let mut board = Board::default();
        let host = HostId::new("h");
        for number in 0..ENTRIES_MAX as u64 + 7 {
            let name = format!("log {number}");
            let source = SourceId::new(&host, &name);
            let fact = Fact::Log(LogFact::Opened { source, name, origin: "x".into() });
            let at = Timestamp::UNIX_EPOCH;
            board.apply(at, &Envelope { host: host.clone(), seq: number + 1, at, actor: Actor::Runtime, fact });
        }
        let (tallies, vitals) = (Tallies::default(), Vitals::default());
        let page = render(&board, &tallies, &vitals, &Own::default(), Timestamp::UNIX_EPOCH);
        let shown = page.lines().filter(|it| it.starts_with("hotseat_log_connected{")).count();
        assert_eq!(shown, ENTRIES_MAX);
        assert!(page.contains("hotseat_left_out{kind=\"log\"} 7\n"), "{page}");
        assert!(page.ends_with('\n'));
    }
}
