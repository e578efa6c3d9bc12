//! Configs with mistakes and the exact words about them; configs without any.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hotseat::config;
use hotseat::registry::node::Commands;

/// What `hotseat check` says about a file, both streams, for somebody without themes of their own.
fn check(file: &Path) -> String {
    check_in(Path::new("/nonexistent"), file)
}

/// The same with a config folder.
fn check_in(config_dir: &Path, file: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotseat"));
    command.arg("--config").arg(file).arg("check").stdin(Stdio::null());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TZ", "UTC").env("HOTSEAT_CONFIG_DIR", config_dir);
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("an exit code");
    format!("{}{}exit: {code}\n", text(output.stderr), text(output.stdout))
}

fn files(folder: &str) -> Vec<PathBuf> {
    // Relative, as the tests run in the crate's folder: messages name the file as it was named.
    let folder = Path::new("tests/it/configs").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).expect("configs").map(|it| it.expect("entry").path()).collect();
    files.sort();
    files
}

#[test]
fn every_mistake_has_its_place_and_its_words() {
    for file in files("bad") {
        let name = file.file_stem().expect("name").to_string_lossy().into_owned();
        insta::assert_snapshot!(format!("config_{name}"), check(&file));
    }
}

#[test]
fn every_mistake_says_what_to_do() {
    for file in files("bad") {
        for mistake in config::load(Some(&file), Commands::Run).errors {
            assert!(mistake.hint.is_some(), "{mistake}");
        }
    }
}

#[test]
fn a_good_config_has_no_mistakes() {
    for file in files("good") {
        let said = check(&file);
        assert!(said.ends_with("exit: 0\n") && !said.contains("error"), "{said}");
    }
}

#[test]
fn the_config_that_init_writes_is_valid_with_and_without_its_comments() {
    let uncommented: String = config::DEFAULT
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let (config, errors) = config::parse("default.toml", config::DEFAULT);
    assert_eq!((errors, config.probes.len()), (Vec::new(), 0), "as it is written it changes nothing");
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("config.toml");
    fs::write(&file, &uncommented).expect("written");
    let said = check(&file);
    assert!(said.ends_with("exit: 0\n") && !said.contains("error"), "{said}");
    assert!(said.contains("runs: 3 probes (0.17 checks/s), 3 logs, 1 backup job"), "{said}");
}

#[test]
fn a_theme_of_ones_own_is_held_to_its_place_and_its_words_too() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let themes = dir.path().join("themes");
    fs::create_dir(&themes).expect("made");
    fs::write(themes.join("mine.toml"), "inherits = 'dark'\n\n[styles]\nchip = 'red on bleu'\nprob = 'red'\n")
        .expect("written");
    let file = dir.path().join("config.toml");
    fs::write(&file, "[screen]\ntheme = \"mine\"\n").expect("written");
    let said = check_in(dir.path(), &file).replace(&dir.path().display().to_string(), "DIR");
    insta::assert_snapshot!("config_own_theme", said);

    fs::write(themes.join("mine.toml"), "inherits = 'dark'\n").expect("written");
    let said = check_in(dir.path(), &file);
    assert!(said.ends_with("exit: 0\n") && !said.contains("error"), "{said}");
}

#[test]
fn a_file_that_is_no_config_says_why() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let words = |file: &Path| {
        let loaded = config::load(Some(file), Commands::Run);
        assert!(!loaded.readable);
        loaded
            .errors
            .iter()
            .map(|it| it.to_string().replace(&dir.path().display().to_string(), "DIR"))
            .collect::<Vec<_>>()
    };
    let file = dir.path().join("c.toml");
    assert_eq!(
        words(&file),
        ["DIR/c.toml: no such file (check the path, or run `hotseat init` to write a first config)"]
    );
    assert_eq!(words(dir.path()), ["DIR: is a directory (name the file in it, as in `--config DIR/config.toml`)"]);
    fs::write(&file, b"[screen]\ntheme = 'd\xe4rk'\n").expect("written");
    assert_eq!(words(&file), ["DIR/c.toml:2:11: this is not UTF-8 (save the file as UTF-8)"]);
    fs::write(&file, vec![b'#'; (1 << 20) + 1]).expect("written");
    assert_eq!(words(&file), ["DIR/c.toml: larger than 1024 KiB, this is no config"]);
}

#[test]
fn the_good_entries_of_a_bad_config_still_run() {
    let loaded = config::load(Some(Path::new("tests/it/configs/bad/references.toml")), Commands::Run);
    assert!(loaded.readable);
    assert_eq!(loaded.config.probes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(loaded.errors.len(), 5);
}

#[test]
fn a_command_in_a_value_does_not_hold_up_the_start() {
    let text = "[[probe]]\nname = 'a'\nhttp = '${cmd:printf http://127.0.0.1:1/}'\n[[probe]]\nname = 'b'\ntcp = '127.0.0.1:1'\n";
    let names = |commands| {
        let loaded = config::read_text("c.toml", text, commands);
        assert_eq!(loaded.errors, []);
        (loaded.config.probes.iter().map(|it| it.name.clone()).collect::<Vec<_>>(), loaded.deferred)
    };
    assert_eq!(names(Commands::Defer), (vec!["b".to_string()], true));
    assert_eq!(names(Commands::Run), (vec!["a".to_string(), "b".to_string()], false));
}
