//! Reads a program of the config: its words, its folder, its variables. No shell takes anything apart.

use std::path::PathBuf;

use crate::registry::node::Node;

/// A program that the config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name and arguments; never empty.
    pub argv: Vec<String>,
    /// Where it runs; `None` is where we do.
    pub folder: Option<PathBuf>,
    /// Variables that it gets besides our own.
    pub environment: Vec<(String, String)>,
}

/// Reads `["program", "argument"]`, or a table with `argv`, `cwd` and `env`; `value` reads a variable's value.
///
/// Mistakes are reported through the nodes.
pub fn read<'a>(node: &Node<'a>, value: impl Fn(&Node<'a>) -> Option<String>) -> Option<Program> {
    if node.is_str() {
        let words: Vec<String> = node.raw_string()?.split_whitespace().map(|it| format!("\"{it}\"")).collect();
        node.error_with_hint(
            "`command` must be an array, because no shell takes it apart",
            format!("write `command = [{}]`", words.join(", ")),
        );
        return None;
    }
    if !node.is_table() {
        return Some(Program { argv: argv(node)?, folder: None, environment: Vec::new() });
    }
    let argv = node.require("argv").and_then(|it| argv(&it));
    let folder = node.get("cwd").map(|it| it.string());
    let environment = node.get("env").map(|table| {
        let pair = |(key, _): (String, _)| Some((key.clone(), value(&table.get(&key)?)?));
        table.keys().into_iter().map(pair).collect::<Option<Vec<_>>>()
    });
    node.finish(&[]);
    let folder = folder.map_or(Some(None), |it| it.map(|it| Some(PathBuf::from(it))))?;
    Some(Program { argv: argv?, folder, environment: environment.unwrap_or(Some(Vec::new()))? })
}

fn argv(node: &Node<'_>) -> Option<Vec<String>> {
    let words = node.items().iter().map(Node::string).collect::<Option<Vec<_>>>()?;
    if words.first().is_none_or(String::is_empty) || words.iter().any(|it| it.contains('\0')) {
        node.error_with_hint("the command names no program", "write `[\"program\", \"argument\"]`");
        return None;
    }
    Some(words)
}
