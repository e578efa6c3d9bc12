//! `file` in the config: paths, patterns and directories.

use std::path::PathBuf;

use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::glob;
use crate::service::log::spec::{LogInput, LogInputs};

/// `file` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "file",
    summary: "files, patterns and directories, followed through rotation and truncation; archives (gzip, zstd, bzip2, xz) are unpacked; `history = true` puts a log's rotated files before it",
    example: "[[log]]\nname    = \"api\"\nfile    = [\"/var/log/api/*.log\", \"/var/log/api.log\"]\nhistory = true\n",
    build,
};

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    let mut inputs = Vec::new();
    let nodes = value.one_or_many();
    if value.is_array() && nodes.is_empty() {
        value.error_with_hint("`file` names no file", "write a path or a pattern as `/var/log/*.log`");
    }
    for node in &nodes {
        let text = node.string()?;
        if text.is_empty() {
            node.error_with_hint("an empty path", "write a path or a pattern as `/var/log/*.log`");
            return None;
        }
        let path = expand_home(&text);
        inputs.push(if glob::is_pattern(&text) {
            LogInput::Pattern(path)
        } else {
            LogInput::Path(PathBuf::from(path))
        });
    }
    (!inputs.is_empty()).then(|| Box::new(LogInputs(inputs)))
}

fn expand_home(text: &str) -> String {
    match (text.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => text.to_string(),
    }
}
