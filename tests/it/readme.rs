//! The README is true: its config is accepted and its commands are commands.

use clap::Parser as _;
use hotseat::cli::Cli;

const README: &str = include_str!("../../README.md");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    README.split(&opening as &str).skip(1).filter_map(|it| it.split("\n```").next()).collect()
}

#[test]
fn the_config_in_the_readme_is_accepted() {
    let configs = blocks("toml");
    assert!(!configs.is_empty());
    for text in configs {
        let loaded = hotseat::config::parse("README.md", text);
        assert_eq!(loaded.1, [], "{text}");
    }
}

#[test]
fn the_commands_in_the_readme_are_commands() {
    let mut seen = 0;
    for line in blocks("sh").iter().flat_map(|it| it.lines()) {
        let line = line.split("  #").next().unwrap_or(line);
        for command in line.split(" && ").flat_map(|it| it.split(" | ")) {
            let words = words(command.trim());
            if words.first().is_none_or(|it| it != "hotseat") {
                continue;
            }
            seen += 1;
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("`{command}`: {error}");
            }
        }
    }
    assert!(seen >= 10, "only {seen} commands found");
}

/// Splits at blanks, keeping what is quoted together.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for it in command.chars() {
        match quote {
            Some(end) if it == end => quote = None,
            Some(_) => word.push(it),
            None if it == '\'' || it == '"' => quote = Some(it),
            None if it == ' ' => words.push(std::mem::take(&mut word)),
            None => word.push(it),
        }
    }
    words.push(word);
    words.retain(|it| !it.is_empty());
    words
}
