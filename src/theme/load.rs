//! Reads theme files: a palette, dotted names, another theme to inherit from.
//!
//! ```toml
//! inherits = "dark"
//!
//! [palette]
//! alarm = "#ff6b6b"
//!
//! [styles]
//! "probe.down" = "alarm bold"
//! selection    = "black on alarm"
//! ```
//!
//! A style is words: a colour, `on` and a colour for the background, and any of `bold`, `dim`, `italic`,
//! `underline`, `reverse`. A colour is a name of the palette, one of the sixteen (`red`, `light-red`), a
//! number of the 256, `#rrggbb`, or `default`. Takes text: reading files is the business of the caller.

use std::collections::HashMap;
use std::ops::Range;

use ratatui::style::{Color, Modifier, Style};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::config_error::{ConfigError, did_you_mean};
use crate::theme::Theme;
use crate::theme::role::Role;

/// The themes we ship, the default first.
pub const SHIPPED: &[(&str, &str)] = &[
    ("ansi", include_str!("../../themes/ansi.toml")),
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("high-contrast", include_str!("../../themes/high-contrast.toml")),
    ("colorblind", include_str!("../../themes/colorblind.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];

/// Themes that may stand behind each other: a bound for files that inherit in a circle.
const INHERITS_MAX: usize = 8;

const NAMED: &[(&str, Color)] = &[
    ("default", Color::Reset),
    ("black", Color::Black),
    ("red", Color::Red),
    ("green", Color::Green),
    ("yellow", Color::Yellow),
    ("blue", Color::Blue),
    ("magenta", Color::Magenta),
    ("cyan", Color::Cyan),
    ("gray", Color::Gray),
    ("dark-gray", Color::DarkGray),
    ("light-red", Color::LightRed),
    ("light-green", Color::LightGreen),
    ("light-yellow", Color::LightYellow),
    ("light-blue", Color::LightBlue),
    ("light-magenta", Color::LightMagenta),
    ("light-cyan", Color::LightCyan),
    ("white", Color::White),
];

const MODIFIERS: &[(&str, Modifier)] = &[
    ("bold", Modifier::BOLD),
    ("dim", Modifier::DIM),
    ("italic", Modifier::ITALIC),
    ("underline", Modifier::UNDERLINED),
    ("reverse", Modifier::REVERSED),
];

/// A theme file before it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThemeFile {
    /// The theme's name: the file's name without `.toml`.
    pub name: String,
    /// The path as the user should read it in messages.
    pub file: String,
    /// The text.
    pub text: String,
}

/// Reads the shipped themes and the person's own. One of theirs replaces a shipped one of the same name.
///
/// A theme with mistakes is left out as a whole, so that nobody works with half of one.
pub fn load(own: &[ThemeFile]) -> (Vec<Theme>, Vec<ConfigError>) {
    let shipped = SHIPPED.iter().map(|(name, text)| ThemeFile {
        name: (*name).to_string(),
        file: format!("themes/{name}.toml"),
        text: (*text).to_string(),
    });
    let mut files: Vec<ThemeFile> = shipped.collect();
    let mut replaced = Vec::new();
    for file in own {
        match files.iter_mut().find(|it| it.name == file.name) {
            // A theme may inherit the shipped one that it replaces.
            Some(known) => replaced.push(std::mem::replace(known, file.clone())),
            None => files.push(file.clone()),
        }
    }
    let mut errors = Vec::new();
    let mut themes = Vec::new();
    for file in &files {
        let mut found = Vec::new();
        let Some(drafts) = lineage(file, &files, &replaced, &mut found) else {
            errors.append(&mut found);
            continue;
        };
        let styles = build(&drafts, &mut found);
        if found.is_empty() {
            themes.push(Theme { name: file.name.clone(), styles, ascii: false });
        }
        errors.append(&mut found);
    }
    errors.dedup();
    (themes, errors)
}

/// Writes a style in the words that a theme file would use; `default` for one that changes nothing.
pub fn words(style: Style) -> String {
    let name = |it: Color| match it {
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        Color::Indexed(number) => number.to_string(),
        other => NAMED.iter().find(|(_, it)| *it == other).map_or("default", |(name, _)| name).to_string(),
    };
    let mut words = vec![style.fg.map_or("default".to_string(), name)];
    words.extend(style.bg.map(|it| format!("on {}", name(it))));
    words.extend(MODIFIERS.iter().filter(|(_, it)| style.add_modifier.contains(*it)).map(|(name, _)| name.to_string()));
    words.join(" ")
}

/// What a file says, with the places of its words.
struct Draft<'a> {
    file: &'a ThemeFile,
    inherits: Option<(String, Range<usize>)>,
    palette: Vec<Word>,
    styles: Vec<Word>,
}

/// A string of a table and where it stands.
struct Word {
    name: String,
    name_span: Range<usize>,
    text: String,
    span: Range<usize>,
}

/// The file and those it inherits from, the eldest first.
fn lineage<'a>(
    file: &'a ThemeFile,
    files: &'a [ThemeFile],
    replaced: &'a [ThemeFile],
    errors: &mut Vec<ConfigError>,
) -> Option<Vec<Draft<'a>>> {
    let mut drafts = vec![Draft::read(file, errors)?];
    while let Some((name, span)) = drafts.last().and_then(|it| it.inherits.clone()) {
        let child = drafts.last()?.file;
        let at = |message: String| ConfigError::at(&child.file, &child.text, span.clone(), message);
        if drafts.len() == INHERITS_MAX {
            errors.push(at(format!("`{name}` inherits in a circle, or through more than {INHERITS_MAX} themes")));
            return None;
        }
        let pool: &[ThemeFile] = if child.name == name { replaced } else { files };
        let Some(parent) = pool.iter().find(|it| it.name == name) else {
            let error = at(format!("there is no theme `{name}` to inherit from"));
            let near = did_you_mean(&name, files.iter().map(|it| it.name.as_str()));
            errors.push(match near {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error,
            });
            return None;
        };
        drafts.push(Draft::read(parent, errors)?);
    }
    drafts.reverse();
    Some(drafts)
}

impl<'a> Draft<'a> {
    fn read(file: &'a ThemeFile, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let mut draft = Self { file, inherits: None, palette: Vec::new(), styles: Vec::new() };
        let table = match DeTable::parse(&file.text) {
            Ok(table) => table,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                errors.push(ConfigError::at(&file.file, &file.text, span, error.message().replace('\n', ", ")));
                return None;
            }
        };
        let before = errors.len();
        for (key, value) in table.get_ref() {
            let at = |span: Range<usize>, message: String| ConfigError::at(&file.file, &file.text, span, message);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("inherits", DeValue::String(name)) => draft.inherits = Some((name.to_string(), value.span())),
                ("inherits", _) => errors.push(at(value.span(), "`inherits` must be the name of a theme".into())),
                ("palette", DeValue::Table(table)) => draft.palette = draft.words("palette", table, errors),
                ("styles", DeValue::Table(table)) => draft.styles = draft.words("styles", table, errors),
                ("palette" | "styles", _) => {
                    errors.push(at(value.span(), format!("`{}` must be a table", key.get_ref())));
                }
                (other, _) => {
                    let error = at(key.span(), format!("unknown key `{other}`"));
                    let near = did_you_mean(other, ["inherits", "palette", "styles"]);
                    errors.push(near.map_or(error.clone(), |it| error.with_hint(format!("did you mean `{it}`?"))));
                }
            }
        }
        (errors.len() == before).then_some(draft)
    }

    /// The strings of a table; `probe.down = …` without quotes is a table in TOML and means the same.
    fn words(&self, path: &str, table: &DeTable<'_>, errors: &mut Vec<ConfigError>) -> Vec<Word> {
        let mut words = Vec::new();
        let mut open: Vec<(String, &DeTable<'_>)> = vec![(String::new(), table)];
        while let Some((prefix, table)) = open.pop() {
            for (key, value) in table {
                let name = format!("{prefix}{}", key.get_ref());
                match value.get_ref() {
                    DeValue::String(text) => {
                        words.push(Word { name, name_span: key.span(), text: text.to_string(), span: value.span() });
                    }
                    DeValue::Table(inner) => open.push((format!("{name}."), inner)),
                    _ => errors.push(self.error(value, format!("`{path}.{name}` must be a string"))),
                }
            }
        }
        words
    }

    fn error(&self, value: &Spanned<DeValue<'_>>, message: String) -> ConfigError {
        ConfigError::at(&self.file.file, &self.file.text, value.span(), message)
    }

    fn error_at(&self, span: &Range<usize>, range: Range<usize>, message: String) -> ConfigError {
        // The opening quote is one byte.
        let start = (span.start + 1 + range.start).min(span.end);
        ConfigError::at(&self.file.file, &self.file.text, start..start + range.len(), message)
    }
}

/// The style of every role.
fn build(drafts: &[Draft<'_>], errors: &mut Vec<ConfigError>) -> Vec<Style> {
    let mut palette: HashMap<&str, Color> = HashMap::new();
    let mut styles: HashMap<&str, Style> = HashMap::new();
    for draft in drafts {
        for Word { name, text, span, .. } in &draft.palette {
            match color(text, &HashMap::new()) {
                Some(found) => {
                    palette.insert(name, found);
                }
                None => errors.push(
                    draft
                        .error_at(span, 0..text.len(), format!("`{text}` is not a colour"))
                        .with_hint("write `#rrggbb`, a number of the 256, or one of the sixteen names"),
                ),
            }
        }
    }
    for draft in drafts {
        for Word { name, name_span, text, span } in &draft.styles {
            if !is_role(name) {
                let message = format!("there is nothing called `{name}` to style");
                let error = ConfigError::at(&draft.file.file, &draft.file.text, name_span.clone(), message);
                let near = did_you_mean(name, Role::ALL.iter().map(|it| it.name()));
                let hint = near
                    .map_or("run `hotseat themes ansi` to list the names".into(), |it| format!("did you mean `{it}`?"));
                errors.push(error.with_hint(hint));
                continue;
            }
            match style(text, &palette) {
                Ok(style) => {
                    styles.insert(name, style);
                }
                Err((range, message, hint)) => {
                    let error = draft.error_at(span, range, message);
                    errors.push(hint.map_or(error.clone(), |it| error.with_hint(it)));
                }
            }
        }
    }
    Role::ALL.iter().map(|it| fallback(it.name(), &styles)).collect()
}

/// The style of a dotted name, or of what is left when its last part is dropped, and so on.
fn fallback(name: &str, styles: &HashMap<&str, Style>) -> Style {
    let mut name = name;
    loop {
        if let Some(style) = styles.get(name) {
            return *style;
        }
        let Some((shorter, _)) = name.rsplit_once('.') else { return Style::default() };
        name = shorter;
    }
}

/// A role, or the beginning of one.
fn is_role(name: &str) -> bool {
    let begins = |it: &str| it.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    Role::ALL.iter().any(|it| begins(it.name()))
}

type StyleError = (Range<usize>, String, Option<String>);

fn style(text: &str, palette: &HashMap<&str, Color>) -> Result<Style, StyleError> {
    let mut style = Style::default();
    let mut background = false;
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        let range = at..at + word.trim_end().len();
        at += word.len();
        let word = word.trim_end();
        if word.is_empty() {
            continue;
        }
        if word == "on" && !background {
            background = true;
            continue;
        }
        if let Some((_, modifier)) = MODIFIERS.iter().find(|(name, _)| *name == word) {
            style = style.add_modifier(*modifier);
            continue;
        }
        let Some(color) = color(word, palette) else {
            let known =
                palette.keys().copied().chain(NAMED.iter().chain(&[("on", Color::Reset)]).map(|(name, _)| *name));
            let known = known.chain(MODIFIERS.iter().map(|(name, _)| *name));
            let hint = did_you_mean(word, known).map(|near| format!("did you mean `{near}`?"));
            return Err((
                range,
                format!("`{word}` is neither a colour nor `bold`, `dim`, `italic`, `underline`, `reverse`"),
                hint,
            ));
        };
        style = if std::mem::take(&mut background) { style.bg(color) } else { style.fg(color) };
    }
    if background { Err((0..text.len(), "a colour must follow `on`".into(), None)) } else { Ok(style) }
}

fn color(word: &str, palette: &HashMap<&str, Color>) -> Option<Color> {
    if let Some(found) = palette.get(word) {
        return Some(*found);
    }
    if let Some((_, found)) = NAMED.iter().find(|(name, _)| *name == word) {
        return Some(*found);
    }
    if let Some(hex) = word.strip_prefix('#') {
        let number = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 6)?;
        return Some(Color::Rgb((number >> 16) as u8, (number >> 8) as u8, number as u8));
    }
    word.parse().ok().map(Color::Indexed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> ThemeFile {
        ThemeFile { name: name.into(), file: format!("{name}.toml"), text: text.into() }
    }

    fn theme(text: &str) -> Theme {
        let (themes, errors) = load(&[file("own", text)]);
        assert_eq!(errors, []);
        themes.into_iter().find(|it| it.name == "own").unwrap()
    }

    fn errors(text: &str) -> Vec<String> {
        let (themes, errors) = load(&[file("own", text)]);
        assert!(!themes.iter().any(|it| it.name == "own"), "half a theme was taken");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_shipped_theme_is_without_mistakes() {
        let (themes, errors) = load(&[]);
        assert_eq!(errors, []);
        let names: Vec<&str> = themes.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["ansi", "dark", "light", "high-contrast", "colorblind", "mono"]);
    }

    #[test]
    fn a_missing_name_falls_back_to_the_name_before_its_last_dot() {
        let theme = theme("[styles]\nprobe = 'red'\n'probe.up' = 'green'\ntext = 'white'");
        assert_eq!(theme.style(Role::ProbeUp).fg, Some(Color::Green));
        assert_eq!(theme.style(Role::ProbeDown).fg, Some(Color::Red));
        assert_eq!(theme.style(Role::TextDim).fg, Some(Color::White));
        assert_eq!((theme.style(Role::Chip).fg, theme.style(Role::Chip).bg), (None, None));
    }

    #[test]
    fn a_theme_inherits_palette_and_styles() {
        let base = file("base", "[palette]\nalarm = '#ff0000'\n[styles]\nprobe = 'alarm'\nchip = 'alarm bold'");
        let child = file("own", "inherits = 'base'\n[palette]\nalarm = '#00ff00'\n[styles]\nchip = 'alarm on 17'");
        let (themes, errors) = load(&[base, child]);
        assert_eq!(errors, []);
        let own = themes.iter().find(|it| it.name == "own").unwrap();
        assert_eq!(
            own.style(Role::ProbeDown).fg,
            Some(Color::Rgb(0, 255, 0)),
            "the child's palette repaints the parent"
        );
        assert_eq!(words(own.style(Role::Chip)), "#00ff00 on 17");
    }

    #[test]
    fn an_own_theme_may_refine_the_shipped_one_of_its_name() {
        let (themes, errors) = load(&[file("dark", "inherits = 'dark'\n[styles]\nchip = 'bold'")]);
        assert_eq!(errors, []);
        let dark = themes.iter().find(|it| it.name == "dark").unwrap();
        assert_eq!(words(dark.style(Role::Chip)), "default bold");
        assert!(dark.style(Role::ProbeDown).fg.is_some());
    }

    #[test]
    fn mistakes_have_a_place_and_a_way_out() {
        assert_eq!(
            errors("[styles]\n'probe.dwn' = 'red'"),
            ["own.toml:2:1: there is nothing called `probe.dwn` to style (did you mean `probe.down`?)"]
        );
        assert_eq!(
            errors("[styles]\nchip = 'bold rde'"),
            [
                "own.toml:2:14: `rde` is neither a colour nor `bold`, `dim`, `italic`, `underline`, `reverse` (did you mean `red`?)"
            ]
        );
        assert_eq!(errors("[styles]\nchip = 'red on'"), ["own.toml:2:9: a colour must follow `on`"]);
        assert_eq!(errors("[styles]\nchip = 3"), ["own.toml:2:8: `styles.chip` must be a string"]);
        assert_eq!(errors("stiles = {}"), ["own.toml:1:1: unknown key `stiles` (did you mean `styles`?)"]);
        assert_eq!(
            errors("[palette]\nalarm = '#ff'"),
            [
                "own.toml:2:10: `#ff` is not a colour (write `#rrggbb`, a number of the 256, or one of the sixteen names)"
            ]
        );
        assert_eq!(
            errors("inherits = 'drak'"),
            ["own.toml:1:12: there is no theme `drak` to inherit from (did you mean `dark`?)"]
        );
        assert!(errors("chip = ")[0].starts_with("own.toml:1:"));
    }

    #[test]
    fn a_style_is_written_as_it_is_read() {
        for text in ["default", "red on blue bold", "#0102ff dim underline", "17 on 18", "default on white reverse"] {
            assert_eq!(words(style(text, &HashMap::new()).unwrap()), text);
        }
    }

    #[test]
    fn themes_that_inherit_in_a_circle_are_refused() {
        let (themes, errors) = load(&[file("a", "inherits = 'b'"), file("b", "inherits = 'a'")]);
        assert!(!themes.iter().any(|it| it.name == "a" || it.name == "b"));
        assert!(errors[0].message.contains("in a circle"), "{}", errors[0]);
    }

    #[test]
    fn the_selection_is_visible_without_colour() {
        let (themes, _) = load(&[]);
        let mono = themes.iter().find(|it| it.name == "mono").unwrap();
        assert!(mono.style(Role::Selection).add_modifier.contains(Modifier::REVERSED));
        for role in Role::ALL {
            let style = mono.style(*role);
            assert_eq!((style.fg, style.bg), (None, None), "{}", role.name());
        }
    }

    /// Relative luminance as WCAG 2 defines it.
    fn luminance(color: Color) -> f64 {
        let Color::Rgb(red, green, blue) = color else { panic!("{color} has no fixed value") };
        let channel = |it: u8| {
            let it = f64::from(it) / 255.0;
            if it <= 0.04045 { it / 12.92 } else { ((it + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue)
    }

    #[test]
    fn text_has_enough_contrast_on_its_background() {
        let (themes, _) = load(&[]);
        for (name, least) in [("dark", 4.5), ("light", 4.5), ("colorblind", 4.5), ("high-contrast", 7.0)] {
            let theme = themes.iter().find(|it| it.name == name).unwrap();
            let base = theme.style(Role::Text);
            let popup = theme.style(Role::Popup);
            for role in Role::ALL {
                // Lines, not letters.
                if matches!(role, Role::Border | Role::Spark | Role::SparkFail | Role::Progress) {
                    continue;
                }
                let style = theme.style(*role);
                for ground in [base, popup] {
                    let fg = luminance(style.fg.or(ground.fg).unwrap());
                    let bg = luminance(style.bg.or(ground.bg).unwrap());
                    let ratio = (fg.max(bg) + 0.05) / (fg.min(bg) + 0.05);
                    assert!(ratio >= least, "{name}: {} has {ratio:.2}", role.name());
                }
            }
        }
    }
}
