//! The screen as a pure machine: events in, effects out, no terminal and no clock.
//!
//! [`model`] is the state, [`update`] its only way to change, [`view`] its picture. A command is a row of a
//! table in [`command`] or in a pane; [`keymap`] finds it by keys, [`overlay`] holds what lies over the panes.

pub mod command;
pub mod effect;
pub mod event;
pub mod keymap;
pub mod layout;
pub mod model;
pub mod notice;
pub mod overlay;
pub mod past;
pub mod people;
pub mod several;
pub mod strip;
pub mod summary;
pub mod update;
pub mod view;
pub mod ways;
