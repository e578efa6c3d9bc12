//! `stdin` in the config: what is piped into this process.

use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::spec::{LogInput, LogInputs};

/// `stdin` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "stdin",
    summary: "what is piped into hotseat, kept in a spool of at most 256 MiB",
    example: "[[log]]\nname  = \"pipe\"\nstdin = true\n",
    build,
};

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    if !value.boolean()? {
        value.error_with_hint("`stdin = false` reads nothing", "remove the entry, or write `stdin = true`");
        return None;
    }
    Some(Box::new(LogInputs(vec![LogInput::Stdin])))
}
