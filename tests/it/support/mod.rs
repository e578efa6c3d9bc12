//! What several integration tests share.

use hotseat as host;

// The pane's own tests use it as well.
#[path = "../../../src/panes/logs/fixture/engine.rs"]
mod log_engine;
pub mod picture;
pub mod pty;
pub mod screen;
