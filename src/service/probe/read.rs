//! Reads one `[[probe]]`: its kind, its pace, its thresholds and what it expects.

pub mod rules;

use std::time::Duration;

use crate::domain::probe::expect::{Expression, ExpressionError, Subjects};
use crate::domain::probe::health::{Thresholds, Window};
use crate::registry;
use crate::registry::node::Node;
use crate::service::probe::veiled::veiled;
use crate::service::probe::{KINDS, Probe, ProbeSpec};
use crate::service::veil::Veil;

/// Pace while up, when nothing is said.
const INTERVAL: Duration = Duration::from_secs(30);
/// Deadline of one run, when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pace while not up, when nothing is said.
const RETRY: Duration = Duration::from_secs(5);
/// Shortest pace and deadline: a mistyped unit must not become a flood.
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest pace and deadline: what is looked at less often than daily is no probe.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Expressions of one probe; each costs a scan of the body.
const EXPRESSIONS_MAX: usize = 32;

/// Reads one `[[probe]]`; `defaults` is the `[defaults]` table. Mistakes are reported through the nodes.
///
/// Without an expression about `status`, an http probe expects `status >= 200` and `status < 400`.
pub fn read(entry: &Node<'_>, defaults: Option<&Node<'_>>) -> Option<ProbeSpec> {
    let name = entry.require("name").and_then(|it| read_name(&it));
    let pace = read_pace(entry, defaults);
    let windows = Thresholds::default();
    let fail = window(entry, defaults, "fail", windows.fail);
    let recover = window(entry, defaults, "recover", windows.recover);
    let mode = rules::read_mode(entry, defaults);
    let rules = rules::read(entry, defaults);
    let (expect, prefer) = (entry.get("expect"), entry.get("prefer"));
    // Last of the keys: what nobody else took may be a misspelt kind.
    let (kind, mut secrets) = entry.referred_in(|| read_kind(entry));
    entry.finish(&[]);
    let Some((kind, probe)) = kind else {
        report_wrong_for_all([expect.as_ref(), prefer.as_ref()]);
        return None;
    };
    let subjects = probe.subjects();
    let (compared, found) = entry
        .referred_in(|| (expectations_of(probe.as_ref(), expect.as_ref()), expressions(prefer.as_ref(), subjects)));
    secrets.extend(found);
    let probe = veiled(probe, Veil::new(secrets));
    let (expect, prefer) = (compared.0?, compared.1?);
    let (interval, timeout, retry) = pace?;
    let thresholds = Thresholds { fail: fail?, recover: recover?, mode: mode? };
    Some(ProbeSpec {
        name: name?,
        kind,
        probe: probe.into(),
        interval,
        retry,
        timeout,
        thresholds,
        expect,
        prefer,
        rules: rules?,
    })
}

fn read_name(node: &Node<'_>) -> Option<String> {
    let name = node.string()?;
    if name.trim().is_empty() || name.chars().any(|it| it.is_control() || it == '/') {
        node.error_with_hint(
            "`name` must be a short text without `/` and control characters",
            "write it as it should stand on the screen, as in `orders-api`",
        );
        return None;
    }
    Some(name)
}

fn read_kind(entry: &Node<'_>) -> Option<(&'static str, Box<dyn Probe>)> {
    let (kind, node) = registry::pick(entry, "probe", KINDS)?;
    (kind.build)(&node).map(|probe| (kind.name, probe))
}

fn read_pace(entry: &Node<'_>, defaults: Option<&Node<'_>>) -> Option<(Duration, Duration, Duration)> {
    let own_timeout = entry.get("timeout");
    let interval = pace(entry, defaults, "interval", INTERVAL);
    let timeout = pace(entry, defaults, "timeout", TIMEOUT);
    let retry = pace(entry, defaults, "retry", RETRY);
    let (interval, timeout, retry) = (interval?, timeout?, retry?);
    if timeout > interval
        && let Some(node) = own_timeout
    {
        node.error_with_hint(
            "`timeout` is longer than `interval`",
            "a run must be over before the next is due: shorten the one or lengthen the other",
        );
        return None;
    }
    // What comes from the defaults gives way to the probe's own interval.
    Some((interval, timeout.min(interval), retry.min(interval)))
}

/// Reads the entry's own value, else that of the defaults.
///
/// A mistake in the defaults is reported and leaves the built-in value: it must not stop every probe.
fn either<T>(
    entry: &Node<'_>,
    defaults: Option<&Node<'_>>,
    key: &str,
    otherwise: T,
    read: impl Fn(&Node<'_>) -> Option<T>,
) -> Option<T> {
    // Both are taken, so that neither is reported as unknown.
    let default = defaults.and_then(|it| it.get(key));
    match (entry.get(key), default) {
        (Some(own), _) => read(&own),
        (None, Some(default)) => Some(read(&default).unwrap_or(otherwise)),
        (None, None) => Some(otherwise),
    }
}

fn pace(entry: &Node<'_>, defaults: Option<&Node<'_>>, key: &str, otherwise: Duration) -> Option<Duration> {
    either(entry, defaults, key, otherwise, |node| {
        let found = node.duration()?;
        if !(SHORTEST..=LONGEST).contains(&found) {
            node.error_with_hint(
                format!("`{key}` must be from 100ms to 24h"),
                "choose a duration between the two, as in `15s`",
            );
            return None;
        }
        Some(found)
    })
}

fn window(entry: &Node<'_>, defaults: Option<&Node<'_>>, key: &str, otherwise: Window) -> Option<Window> {
    either(entry, defaults, key, otherwise, |node| match node.string()?.parse() {
        Ok(window) => Some(window),
        Err(message) => {
            node.error_with_hint(message, "`2/3` means: two of the last three results");
            None
        }
    })
}

/// Reports the expressions that no kind understands, when the kind itself is wrong: all mistakes in one go.
fn report_wrong_for_all(nodes: [Option<&Node<'_>>; 2]) {
    for line in nodes.into_iter().flatten().flat_map(Node::one_or_many) {
        let Some(text) = line.string() else { continue };
        // What a kind knows only the right one can tell: an unknown subject would be a second mistake out of the first.
        let known = [Subjects::Http, Subjects::Tcp, Subjects::Command].map(|it| Expression::parse(&text, it).err());
        if known.iter().all(Option::is_some)
            && let Some(error) = known.into_iter().flatten().find(|it| !it.is_of_kind)
        {
            report(&line, error);
        }
    }
}

fn report(line: &Node<'_>, error: ExpressionError) {
    let hint = error.hint.unwrap_or_else(|| "see `hotseat check --kinds` for expressions that work".into());
    line.error_within(error.range, error.message, Some(hint));
}

/// Reads `expect` of a probe, with what its kind expects when the config does not say.
pub(super) fn expectations_of(probe: &dyn Probe, node: Option<&Node<'_>>) -> Option<Vec<Expression>> {
    let subjects = probe.subjects();
    let mut expect = expectations(node, subjects)?;
    let usual = probe.usually(&|subject| expect.iter().any(|it| it.is_about(subject)));
    expect.splice(0..0, usual.into_iter().filter_map(|it| Expression::parse(it, subjects).ok().map(Expression::usual)));
    Some(expect)
}

/// Reads `expect`: lines of expressions, and for http the usual status when none is about it.
pub(super) fn expectations(node: Option<&Node<'_>>, subjects: Subjects) -> Option<Vec<Expression>> {
    let mut expect = expressions(node, subjects)?;
    if subjects == Subjects::Http && !expect.iter().any(Expression::is_about_status) {
        let default = ["status >= 200", "status < 400"];
        expect
            .splice(0..0, default.iter().filter_map(|it| Expression::parse(it, subjects).ok().map(Expression::usual)));
    }
    Some(expect)
}

/// Reads lines of expressions; `None` after a mistake.
fn expressions(node: Option<&Node<'_>>, subjects: Subjects) -> Option<Vec<Expression>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let lines = node.one_or_many();
    if lines.len() > EXPRESSIONS_MAX {
        node.error_with_hint(
            format!("more than {EXPRESSIONS_MAX} expressions"),
            "split the probe into two, each with a part of them",
        );
        return None;
    }
    let mut good = true;
    let mut result = Vec::with_capacity(lines.len());
    for line in lines {
        let Some(text) = line.string() else {
            good = false;
            continue;
        };
        match Expression::parse(&text, subjects) {
            // As it is written: a value from the environment or a file is compared and never shown.
            Ok(expression) => result.push(expression.shown_as(line.raw_str().unwrap_or(&text))),
            Err(error) => {
                report(&line, error);
                good = false;
            }
        }
    }
    good.then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    fn parse(text: &str) -> (Option<ProbeSpec>, Vec<String>) {
        let source = Source::new("c.toml", text);
        let root = source.parse().expect("valid TOML");
        let entry = root.get("probe").expect("a probe").items().remove(0);
        let spec = read(&entry, root.get("defaults").as_ref());
        (spec, source.errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_short_form_takes_the_defaults() {
        let (spec, errors) =
            parse("[defaults]\ninterval = \"15s\"\nfail = \"3/5\"\n[[probe]]\nname = \"api\"\nhttp = \"http://h/x\"\n");
        assert_eq!(errors, Vec::<String>::new());
        let setup = spec.expect("a spec").setup();
        assert_eq!((setup.interval.as_secs(), setup.timeout.as_secs(), setup.retry.as_secs()), (15, 5, 5));
        assert_eq!(setup.thresholds.fail.to_string(), "3/5");
        assert_eq!(setup.expect, ["status >= 200", "status < 400"]);
    }

    #[test]
    fn every_mistake_has_a_position_and_a_hint() {
        for (text, wanted) in [
            (
                "[[probe]]\nname = \"a\"\nhtpp = \"http://h/\"\n",
                "c.toml:3:1: unknown kind `htpp`, expected one of KINDS (did you mean `http`?)",
            ),
            (
                "[[probe]]\nname = \"a\"\n",
                "c.toml:1:1: a probe needs a kind: one of KINDS (run `hotseat check --kinds` to see an example of each)",
            ),
            (
                "[[probe]]\nname = \"a\"\ntcp = \"h:1\"\nhttp = \"http://h/\"\n",
                "c.toml:3:7: a probe has one kind, not both `http` and `tcp` (make two entries of it)",
            ),
            (
                "[[probe]]\nname = \"a\"\ntcp = \"h:1\"\nintervall = \"5s\"\n",
                "c.toml:4:1: unknown key `intervall` in `probe` (did you mean `interval`?)",
            ),
            (
                "[[probe]]\nname = \"a\"\nhttp = \"http://h/\"\nexpect = [\"status == 200\", \"body =~ '['\"]\n",
                "c.toml:4:37: bad regex: unclosed character class (see `hotseat check --kinds` for expressions that work)",
            ),
            (
                "[[probe]]\nname = \"a\"\ntcp = \"h:1\"\nfail = \"4/3\"\n",
                "c.toml:4:8: `4/3` is not a window of the form `k/n` with 1 <= k <= n <= 20 (`2/3` means: two of the last three results)",
            ),
            (
                "[[probe]]\nname = \"a\"\ntcp = \"h:1\"\ninterval = \"5s\"\ntimeout = \"6s\"\n",
                "c.toml:5:11: `timeout` is longer than `interval` (a run must be over before the next is due: shorten the one or lengthen the other)",
            ),
            ("[[probe]]\nname = \"a\"\ntcp = \"h\"\n", "c.toml:3:7: `h` has no port (write `host:port`)"),
        ] {
            let (spec, errors) = parse(text);
            assert!(spec.is_none() || wanted.contains("unknown key"), "{text}");
            let kinds: Vec<&str> = KINDS.iter().map(|it| it.name).collect();
            assert_eq!(errors, [wanted.replace("KINDS", &kinds.join(", "))], "{text}");
        }
    }

    #[test]
    fn a_wrong_kind_does_not_hide_a_bad_regex_behind_it() {
        let (_, errors) = parse("[[probe]]\nname = \"a\"\ntcp = \"h\"\nexpect = [\"body =~ '['\", \"exit == 0\"]\n");
        let places: Vec<&str> = errors.iter().map(|it| &it[..it.find(": ").unwrap_or(0)]).collect();
        // `exit` belongs to another kind than the one meant here, which only the right kind can tell.
        assert_eq!(places, ["c.toml:3:7", "c.toml:4:20"], "{errors:?}");
    }

    #[test]
    fn a_wrong_url_is_the_only_mistake_of_what_only_its_kind_compares() {
        for (kind, expect) in [
            ("prometheus = { url = 'nonsense', query = 'up' }", "value < 0.05"),
            ("heartbeat = { every = 'nonsense' }", "age < 25h"),
            ("dns = { name = 'example.com', server = ':::' }", "answers contains '10.0.0.1'"),
        ] {
            let (_, errors) = parse(&format!("[[probe]]\nname = \"a\"\n{kind}\nexpect = \"{expect}\"\n"));
            assert!(errors.len() == 1 && errors[0].starts_with("c.toml:3:"), "{errors:?}");
        }
    }

    #[test]
    fn a_place_from_elsewhere_is_shown_and_what_else_comes_from_there_is_not() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            format!("${{file:{}}}", path.display())
        };
        let (host, key, url) = (
            file("host", "db-1.example.com\n"),
            file("key", "hunter22\n"),
            file("url", "https://u:hunter22@api.example.com/in/hunter22\n"),
        );
        for (kind, wanted) in [
            (format!("tcp = \"{host}:5432\""), "db-1.example.com:5432"),
            (format!("http = \"https://{host}/health?key={key}\""), "https://db-1.example.com/health?…"),
            (format!("http = \"{url}\""), "https://api.example.com/***"),
            (format!("command = [\"check\", \"{key}\"]"), "check ***"),
        ] {
            let (spec, errors) = parse(&format!("[[probe]]\nname = \"a\"\n{kind}\n"));
            assert_eq!(errors, Vec::<String>::new(), "{kind}");
            assert_eq!(spec.expect("a spec").setup().target, wanted, "{kind}");
        }
    }

    #[test]
    fn every_example_is_accepted() {
        for kind in KINDS {
            let (spec, errors) = parse(kind.example);
            assert_eq!(errors, Vec::<String>::new(), "{}", kind.name);
            assert_eq!(spec.expect("a spec").kind, kind.name);
        }
    }

    #[test]
    fn a_changed_setting_changes_the_fingerprint() {
        let spec = |text: &str| parse(text).0.expect("a spec").fingerprint();
        let one = "[[probe]]\nname = \"a\"\ncommand = [\"true\"]\n";
        assert_eq!(spec(one), spec(one));
        assert_ne!(spec(one), spec("[[probe]]\nname = \"a\"\ncommand = [\"true\", \"x\"]\n"));
        assert_ne!(spec(one), spec("[[probe]]\nname = \"a\"\ncommand = [\"true\"]\nprefer = \"total < 1s\"\n"));
    }
}
