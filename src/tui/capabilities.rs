//! What the terminal can show, from the environment alone: nothing here asks the terminal and waits.
//!
//! Answers to questions (synchronized update, background colour) come later, if at all, and only improve
//! on these defaults. tmux, screen and mosh answer hardly any of them.

/// How many colours may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColorDepth {
    /// None: state is told by words, bold, reverse and underline.
    None,
    /// The sixteen named ones.
    Ansi16,
    /// The palette of 256.
    Ansi256,
    /// 24 bits.
    True,
}

/// Which characters may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyphs {
    /// All of Unicode.
    Unicode,
    /// Lines, bars and marks in ASCII; text as it is (`--ascii` under a UTF-8 locale).
    AsciiChrome,
    /// ASCII only: the terminal would show anything else as garbage.
    Ascii,
}

/// Who decides about colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorRule {
    /// `NO_COLOR`, `COLORTERM` and `TERM`.
    Environment,
    /// Colours, whatever `NO_COLOR` says.
    Always,
    /// No colours.
    Never,
}

/// What the terminal can show and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Colours.
    pub depth: ColorDepth,
    /// Characters.
    pub glyphs: Glyphs,
    /// The terminal is reached over SSH or mosh: every byte and every frame costs more.
    pub remote: bool,
    /// Between us and the terminal stands tmux or screen, which by default swallows OSC 52.
    pub multiplexed: bool,
    /// It is tmux.
    pub tmux: bool,
}

impl Capabilities {
    /// Reads the environment. `None` when `TERM` says that no screen can be drawn.
    pub fn detect(var: impl Fn(&str) -> Option<String>, rule: ColorRule, ascii: bool) -> Option<Self> {
        let var = |name: &str| var(name).filter(|it| !it.is_empty());
        let term = var("TERM").filter(|it| it != "dumb" && it != "unknown")?;
        let has = |name| var(name).is_some();
        Some(Self {
            depth: depth(&term, var("COLORTERM").as_deref(), has("NO_COLOR"), rule),
            glyphs: glyphs(&term, is_utf8(var), ascii),
            remote: has("SSH_CONNECTION") || has("SSH_TTY") || has("MOSH_CONNECTION") || has("MOSH_IP"),
            multiplexed: has("TMUX") || has("STY"),
            tmux: has("TMUX"),
        })
    }
}

fn depth(term: &str, colorterm: Option<&str>, no_color: bool, rule: ColorRule) -> ColorDepth {
    // Terminals that all have 24 bits; `COLORTERM` does not cross SSH, `TERM` does.
    const TRUE: &[&str] = &["kitty", "alacritty", "ghostty", "foot", "wezterm", "direct", "contour"];
    if rule == ColorRule::Never || (rule == ColorRule::Environment && no_color) || term.starts_with("vt") {
        ColorDepth::None
    } else if matches!(colorterm, Some("truecolor" | "24bit")) || TRUE.iter().any(|it| term.contains(it)) {
        ColorDepth::True
    } else if term.contains("256") {
        ColorDepth::Ansi256
    } else {
        ColorDepth::Ansi16
    }
}

/// True when the locale says that text is UTF-8.
pub fn is_utf8(var: impl Fn(&str) -> Option<String>) -> bool {
    let var = |name: &str| var(name).filter(|it| !it.is_empty());
    var("LC_ALL").or_else(|| var("LC_CTYPE")).or_else(|| var("LANG")).is_some_and(|it| {
        let it = it.to_ascii_lowercase();
        it.contains("utf-8") || it.contains("utf8")
    })
}

fn glyphs(term: &str, utf8: bool, ascii: bool) -> Glyphs {
    match (utf8 && !term.starts_with("vt"), ascii || term == "linux") {
        (false, _) => Glyphs::Ascii,
        (true, true) => Glyphs::AsciiChrome,
        (true, false) => Glyphs::Unicode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(vars: &[(&str, &str)], rule: ColorRule, expected: Option<(ColorDepth, Glyphs)>) {
        let var = |name: &str| vars.iter().find(|(it, _)| *it == name).map(|(_, value)| value.to_string());
        let found = Capabilities::detect(var, rule, false).map(|it| (it.depth, it.glyphs));
        assert_eq!(found, expected, "{vars:?}");
    }

    #[test]
    fn the_environment_decides_what_is_sent() {
        use ColorRule::{Always, Environment, Never};
        let utf8 = ("LANG", "en_US.UTF-8");
        check(&[("TERM", "xterm"), utf8], Environment, Some((ColorDepth::Ansi16, Glyphs::Unicode)));
        check(&[("TERM", "tmux-256color"), utf8], Environment, Some((ColorDepth::Ansi256, Glyphs::Unicode)));
        check(&[("TERM", "xterm-kitty"), utf8], Environment, Some((ColorDepth::True, Glyphs::Unicode)));
        check(
            &[("TERM", "xterm"), ("COLORTERM", "truecolor"), utf8],
            Environment,
            Some((ColorDepth::True, Glyphs::Unicode)),
        );
        check(&[("TERM", "linux"), utf8], Environment, Some((ColorDepth::Ansi16, Glyphs::AsciiChrome)));
        check(
            &[("TERM", "xterm"), ("NO_COLOR", "1"), ("LC_ALL", "C"), utf8],
            Environment,
            Some((ColorDepth::None, Glyphs::Ascii)),
        );
        check(&[("TERM", "xterm"), ("NO_COLOR", ""), utf8], Environment, Some((ColorDepth::Ansi16, Glyphs::Unicode)));
        check(&[("TERM", "xterm"), ("NO_COLOR", "1"), utf8], Always, Some((ColorDepth::Ansi16, Glyphs::Unicode)));
        check(&[("TERM", "xterm-256color"), utf8], Never, Some((ColorDepth::None, Glyphs::Unicode)));
    }

    #[test]
    fn a_terminal_that_cannot_draw_is_refused() {
        check(&[("TERM", "dumb")], ColorRule::Environment, None);
        check(&[], ColorRule::Environment, None);
    }
}
