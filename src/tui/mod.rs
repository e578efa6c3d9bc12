//! The terminal: input, draw loop, life cycle.
//!
//! [`run`](run::run) joins a [`screen::Screen`] with the [`crate::runtime`] through one terminal. What a
//! terminal sends goes through [`input`] and [`parser`], what it is sent through [`draw`] and [`outlet`];
//! [`terminal`] holds what must be undone at every end. crossterm and ratatui's own terminal are not used:
//! the one spins on a hang-up and tears arrow keys, the other asks the terminal and waits.

pub mod bell;
pub mod capabilities;
mod carry_out;
pub mod clipboard;
pub mod draw;
pub mod editor_handoff;
mod event_loop;
pub mod fence;
pub mod frame;
pub mod glyph;
pub mod input;
pub mod outlet;
pub mod parser;
pub mod pen;
pub mod run;
mod run_here;
pub mod screen;
pub mod scroll;
pub mod terminal;
