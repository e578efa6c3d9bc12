//! The README is true: its config is accepted and its commands are commands.

use std::process::Command;

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
    let home = tempfile::tempdir().expect("temporary directory");
    let path = home.path().join("config.toml");
    for text in configs {
        std::fs::write(&path, text).expect("config.toml");
        // The command also judges the keys and the theme, which the config alone does not know.
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
        let output = command
            .arg("check")
            .env_clear()
            .env("HOME", home.path())
            .env("TWILIO_TOKEN", "token")
            .env("HOTSEAT_CONFIG", &path)
            .output();
        let output = output.expect("the binary starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{text}");
        assert!(output.status.success(), "{text}");
    }
}

#[test]
fn the_readme_has_every_kind_of_log_and_an_example_of_it() {
    let configs = blocks("toml").concat();
    for kind in hotseat::service::log::KINDS {
        let name = kind.name;
        assert!(README.lines().any(|it| it.starts_with("| `") && it.contains(&format!("`{name}`"))), "`{name}`");
        // What is piped in needs no config.
        let is_shown = configs.lines().any(|it| it.split_once('=').is_some_and(|(key, _)| key.trim() == name));
        assert!(is_shown || name == "stdin", "no example of `{name}`");
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
