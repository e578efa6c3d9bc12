//! What several integration tests share.

mod log_engine;
pub mod picture;
pub mod pty;
pub mod screen;
