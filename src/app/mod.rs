//! The screen as a pure machine: events in, effects out, no terminal and no clock.

pub mod command;
pub mod effect;
pub mod event;
pub mod model;
