//! Log sources: what the config or the command line names, opened in the log engine.

use crate::domain::log::WindowRequest;
use crate::registry::node::Node;
use crate::service::{Reply, ServiceSetup};

/// One `[[log]]` of the config, or one operand of the command line, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSpec {
    /// Short name for the row prefix; made unique per file of a glob.
    pub name: String,
}

/// Reads one `[[log]]`. Mistakes are reported through the node.
pub fn read(entry: &Node<'_>, _defaults: Option<&Node<'_>>) -> Option<LogSpec> {
    let name = entry.require("name")?.string()?;
    Some(LogSpec { name })
}

/// Makes specs of the operands of `hotseat [PATH|-]…`: files, globs, directories, `-` for stdin.
pub fn from_operands(operands: &[String]) -> Vec<LogSpec> {
    operands.iter().map(|it| LogSpec { name: it.clone() }).collect()
}

/// Makes specs of the host's own logs, for a start without config and operands.
pub fn host_logs() -> Vec<LogSpec> {
    Vec::new()
}

/// Keeps the sources open and answers window requests.
#[derive(Clone)]
pub struct LogService {}

impl LogService {
    /// Opens the sources and starts watching them.
    pub fn start(_setup: &ServiceSetup, _specs: Vec<LogSpec>) -> Self {
        Self {}
    }

    /// Takes changed specs into use: unchanged sources keep their state.
    pub fn reload(&self, _specs: Vec<LogSpec>) {}

    /// Starts answering a window request with `Inbound::Window`s; does not block.
    pub fn request(&self, _request: WindowRequest, _reply: Reply) {}
}
