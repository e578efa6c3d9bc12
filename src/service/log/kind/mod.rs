//! The kinds of log source, one file each. A new kind is a file here and a line in `KINDS`.

pub mod command;
pub mod docker;
pub mod elasticsearch;
pub mod file;
pub mod journald;
pub mod kubernetes;
pub mod loki;
pub mod ssh;
pub mod stdin;

use crate::registry::Kind;
use crate::service::log::spec::LogInputs;

/// The kinds of log source.
pub const KINDS: &[Kind<LogInputs>] = &[
    file::KIND,
    stdin::KIND,
    command::KIND,
    journald::KIND,
    docker::KIND,
    docker::PODMAN,
    kubernetes::KIND,
    ssh::KIND,
    loki::KIND,
    elasticsearch::KIND,
];
