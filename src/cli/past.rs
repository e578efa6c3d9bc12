//! What a command knows of alerts: what whoever watches the state directory says, else its journal and store.

use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::agent::glance::{self, Seen, Unseen};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::Config;
use crate::domain::alert::AlertFact;
use crate::domain::alert::explain::{ExplainRequest, Explanation};
use crate::domain::alert::quiet::Matcher;
use crate::domain::board::Board;
use crate::domain::ids::ProbeId;
use crate::domain::query::time;
use crate::runtime::journal;
use crate::service::notify::asked::{self, Asked};
use crate::store::file_system;

/// What whoever watches knows, and why a probe was paged or not.
pub(super) type Watched = (Box<Board>, Option<Explanation>);

/// What whoever watches knows, and why a probe of a name was paged or not, where one is asked about; `None` when nobody
/// watches, or with a warning when they cannot be asked.
///
/// # Errors
/// When nothing can be asked at all, or stderr cannot be written.
pub(super) fn watched(cx: &Context, explain: Option<&str>, out: &mut Output<'_>) -> Result<Option<Watched>, Failure> {
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("could not ask").caused_by(error))?;
    let seen = asking.block_on(async {
        let mut seen = glance::look(&cx.state_dir()).await?;
        let probe = explain.map(|name| ProbeId::new(&seen.host, name)).filter(|it| seen.board.probes.get(it).is_some());
        let explanation = match probe {
            Some(probe) => seen.explain(ExplainRequest { probe, at: None }).await,
            None => None,
        };
        let Seen { board, .. } = seen;
        Ok((board, explanation))
    });
    match seen {
        Ok(seen) => Ok(Some(seen)),
        Err(Unseen::Nobody(_)) => Ok(None),
        Err(Unseen::Closed(why) | Unseen::Failed(why)) => {
            writeln!(out.stderr, "warning: whoever watches could not be asked, so the files are: {why}")?;
            Ok(None)
        }
    }
}

/// The board at a time; `None` when no hotseat has written it down.
///
/// # Errors
/// When the journal is there and cannot be read.
pub(super) fn board_at(cx: &Context, at: Timestamp, out: &mut Output<'_>) -> Result<Option<Board>, Failure> {
    let state_dir = cx.state_dir();
    let replay = journal::replay(&state_dir, at).map_err(|error| {
        Failure::internal(format!("could not read the journal: {}", state_dir.join(journal::FOLDER).display()))
            .caused_by(error)
            .hint("check the directory's permissions, or name another one with `--state-dir`")
    })?;
    let Some(replay) = replay else { return Ok(None) };
    if replay.skipped_lines > 0 {
        writeln!(out.stderr, "warning: {} lines of the journal could not be read", replay.skipped_lines)?;
    }
    if file_system::is_full(&state_dir) {
        writeln!(
            out.stderr,
            "warning: the disk of {} is full: what a running hotseat saw since then is written when there is room, and until then \
             only its screens show it",
            state_dir.display()
        )?;
    }
    Ok(Some(replay.board))
}

/// The board as it is now, with what was asked for and not taken in yet, and the silences and maintenances of the
/// config as it stands.
///
/// # Errors
/// See [`board_at`].
pub(super) fn board_now(cx: &Context, config: &Config, now: Timestamp, out: &mut Output<'_>) -> Result<Board, Failure> {
    let mut board = board_at(cx, now, out)?.unwrap_or_default();
    let rules = Box::new(config.alerts.clone());
    let mut facts = vec![AlertFact::Configured { rules }];
    facts.extend(asked::waiting(&cx.state_dir()).unwrap_or_default().into_iter().map(|(_, it)| it.fact));
    for fact in &facts {
        // What follows from it is for the runtime that takes it in.
        let _ = board.alerts.apply(now, fact, &board.probes);
    }
    Ok(board)
}

/// Leaves what a person decided where a running hotseat takes it in, or the next one.
///
/// # Errors
/// When it cannot be written.
pub(super) fn ask(cx: &Context, by: &str, fact: AlertFact, now: Timestamp) -> Result<(), Failure> {
    let state_dir = cx.state_dir();
    asked::leave(&state_dir, &Asked { by: by.to_string(), fact }, now).map_err(|error| {
        Failure::internal(format!("could not write it down: {}", state_dir.display()))
            .caused_by(error)
            .hint("check the directory's permissions and space, or name another one with `--state-dir`")
    })
}

/// Reads a time that was, for an option.
///
/// # Errors
/// When it is none.
pub(super) fn when(option: &str, text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Failure> {
    time::resolve(text, now, zone).map_err(|error| Failure::usage(format!("{option}: {error}")).hint(time::HINT))
}

/// Reads a time to come, for an option.
///
/// # Errors
/// When it is none.
pub(super) fn ahead(option: &str, text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Failure> {
    time::ahead(text, now, zone)
        .map_err(|error| Failure::usage(format!("{option}: {error}")).hint("write `2h`, `18:30` or `2026-08-19T18:30`"))
}

/// From when until when: `--from`, and `--for` or `--until`.
///
/// # Errors
/// When the end is not after the beginning.
pub(super) fn stretch(
    from: Option<&str>,
    length: Option<&str>,
    until: Option<&str>,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<(Timestamp, Timestamp), Failure> {
    let begin = from.map_or(Ok(now), |it| ahead("--from", it, now, zone))?;
    let end = match (length, until) {
        (Some(length), _) => ahead("--for", length, begin, zone)?,
        (None, Some(until)) => ahead("--until", until, begin, zone)?,
        (None, None) => return Err(Failure::usage("say how long").hint("add `--for 2h` or `--until 18:30`")),
    };
    if end <= begin || end <= now {
        return Err(
            Failure::usage("it would be over before it begins").hint("give a later `--until` or a longer `--for`")
        );
    }
    Ok((begin, end))
}

/// Reads matchers.
///
/// # Errors
/// At the first that is none.
pub(super) fn matchers(config: &Config, texts: &[String]) -> Result<Vec<Matcher>, Failure> {
    let read = |it: &String| {
        it.parse().map_err(|error: String| {
            // What is only a name is most often a probe or a group of them.
            let name =
                match config.probes.iter().find(|probe| probe.name == *it || probe.rules.group.as_ref() == Some(it)) {
                    Some(probe) if probe.name == *it => "probe",
                    Some(_) => "group",
                    None => return Failure::usage(error),
                };
            Failure::usage(error).hint(format!("did you mean `{name}={it}`?"))
        })
    };
    texts.iter().map(read).collect()
}

/// Names of the config's probes that matchers fit.
pub(super) fn fitting(cx: &Context, config: &Config, matchers: &[Matcher]) -> Vec<String> {
    let host = cx.host(config);
    let fits = |spec: &&crate::service::probe::ProbeSpec| {
        let mut labels = spec.rules.labels.clone();
        labels.insert("probe".into(), spec.name.clone());
        labels.insert("host".into(), host.to_string());
        labels.insert("kind".into(), spec.kind.to_string());
        labels.insert("target".into(), spec.probe.target());
        labels.extend(spec.rules.group.clone().map(|it| ("group".to_string(), it)));
        // What an alert adds is not known before there is one.
        let known: Vec<&Matcher> =
            matchers.iter().filter(|it| !matches!(it.name.as_str(), "phase" | "concern" | "severity")).collect();
        known.iter().all(|it| it.fits(&labels))
    };
    config.probes.iter().filter(fits).map(|it| it.name.clone()).collect()
}

/// Says on stderr which probes something fits, or warns that it fits none.
///
/// # Errors
/// When stderr cannot be written.
pub(super) fn say_fitting(fits: &[String], out: &mut Output<'_>) -> io::Result<()> {
    if fits.is_empty() {
        writeln!(out.stderr, "warning: it fits no probe of the config as it is")
    } else {
        writeln!(out.stderr, "it fits {}", some_of(fits))
    }
}

/// `edge, api and 3 more`.
pub(super) fn some_of(names: &[String]) -> String {
    const SHOWN_MAX: usize = 8;
    let shown = names.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
