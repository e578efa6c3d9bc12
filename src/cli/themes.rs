//! `hotseat themes`: list themes or show one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::{Screen, paths};
use crate::domain::config_error::{ConfigError, did_you_mean};
use crate::theme::Theme;
use crate::theme::load::{self, ThemeFile};
use crate::theme::role::Role;

/// Theme files that are read from the config directory: more nobody scrolls through.
const OWN_MAX: usize = 100;
/// Largest theme file: forty lines are usual.
const OWN_MAX_BYTES: u64 = 256 * 1024;

/// List themes or show one
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the style of every role of this theme
    pub name: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A theme in the list, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    shipped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    styles: Option<BTreeMap<&'static str, String>>,
}

/// List themes or show one.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, _cx: &Context, out: &mut Output<'_>) -> Result<ExitCode, Failure> {
    let (themes, errors) = all();
    for error in &errors {
        // Nobody is left to warn when stderr is closed.
        let _ = writeln!(out.stderr, "warning: {error}");
    }
    let chosen: Vec<&Theme> = match &args.name {
        None => themes.iter().collect(),
        Some(name) => vec![find(&themes, name)?],
    };
    for theme in chosen {
        let listed = Listed {
            name: &theme.name,
            shipped: load::SHIPPED.iter().any(|(name, _)| *name == theme.name),
            styles: args.name.is_some().then(|| styles(theme)),
        };
        let written = match (&listed.styles, args.json) {
            (_, true) => out.json(&listed),
            (None, false) => {
                let origin = if listed.shipped { "" } else { "  (yours)" };
                writeln!(out.stdout, "{}{origin}", listed.name)
            }
            (Some(styles), false) => {
                let mut rows = styles.iter();
                rows.try_for_each(|(role, style)| writeln!(out.stdout, "{role:<18} {style}"))
            }
        };
        written.map_err(|error| Failure::internal("could not write the themes").caused_by(error))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds a theme by name.
///
/// # Errors
/// When there is none, with the nearest name.
pub fn find<'a>(themes: &'a [Theme], name: &str) -> Result<&'a Theme, Failure> {
    themes.iter().find(|it| it.name == name).ok_or_else(|| {
        let failure = Failure::usage(format!("there is no theme `{name}`"));
        match did_you_mean(name, themes.iter().map(|it| it.name.as_str())) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint("run `hotseat themes` to list them"),
        }
    })
}

/// What is wrong with the theme that a config names: there is none, or its file has mistakes.
pub fn mistake(screen: &Screen) -> Option<ConfigError> {
    let (Some(name), Some(at)) = (&screen.theme, &screen.theme_at) else { return None };
    let (themes, errors) = all();
    if themes.iter().any(|it| it.name == *name) {
        return None;
    }
    let broken = errors.iter().find(|it| Path::new(&it.file).file_stem().is_some_and(|it| it == name.as_str()));
    let (message, hint) = match broken {
        Some(error) => (
            format!("theme `{name}` cannot be used: its file has mistakes"),
            format!("mend `{}`; `hotseat check` shows them", error.file),
        ),
        None => (
            format!("there is no theme `{name}`"),
            match did_you_mean(name, themes.iter().map(|it| it.name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "run `hotseat themes` to list them".to_string(),
            },
        ),
    };
    Some(ConfigError { message, ..at.clone() }.with_hint(hint))
}

/// The shipped themes and the user's own, with what is wrong in theirs.
pub fn all() -> (Vec<Theme>, Vec<ConfigError>) {
    let (own, mut errors) = paths::themes_dir().map(|it| read_own(&it)).unwrap_or_default();
    let (themes, mistakes) = load::load(&own);
    errors.extend(mistakes);
    (themes, errors)
}

fn read_own(dir: &Path) -> (Vec<ThemeFile>, Vec<ConfigError>) {
    let Ok(entries) = fs::read_dir(dir) else { return Default::default() };
    let mut found: Vec<_> = entries.flatten().map(|it| it.path()).collect();
    found.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    found.sort();
    found.truncate(OWN_MAX);
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in found {
        let file = path.display().to_string();
        let name = path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        match read(&path) {
            Ok(text) => files.push(ThemeFile { name, file, text }),
            Err(error) => errors.push(ConfigError::whole_file(&file, format!("could not read the theme: {error}"))),
        }
    }
    (files, errors)
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?.take(OWN_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn styles(theme: &Theme) -> BTreeMap<&'static str, String> {
    Role::ALL.iter().map(|it| (it.name(), load::words(theme.style(*it)))).collect()
}
