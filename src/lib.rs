//! hotseat: a terminal dashboard for the engineer on call.
//!
//! Probes, logs, backups and incident notes on one screen and one clock. This page is the map: where a
//! change belongs, how things flow, what must stay true.
//!
//! # Flow
//!
//! Services observe [`domain::fact::Fact`]s and send them through a bounded channel to the
//! [`runtime`], which folds them into a [`domain::board::Board`] and carries out the effects it answers
//! with. A screen is attached through a [`runtime::Link`]: it gets a snapshot of the board, then the facts
//! after it, and keeps its own board equal by the same fold. Keys, facts and answers are
//! [`app::event::Event`]s of [`app::model::Model::update`], which answers with [`app::effect::Effect`]s.
//! Views are functions of that state into a buffer. Log text takes another way: a pane asks for a
//! [`domain::log::Window`] and the log engine answers.
//!
//! # Where things are
//!
//! | folder | what belongs there |
//! |---|---|
//! | [`domain`] | rules and plain data; no I/O, no clock |
//! | [`logstore`] | the log engine: bytes on disk and pages of stores to windows of records |
//! | [`store`] | the embedded database: probe history, alert state, outbox |
//! | [`registry`] | what a config file can name; spanned values and exact errors |
//! | [`service`] | I/O, one folder per thing that has kinds: probe, log, backup, notify, incident |
//! | [`config`] | the config file, its layers, the paths |
//! | [`runtime`] | effects to tasks, screens attached, shutdown |
//! | [`agent`] | the runtime without a screen, the socket that screens attach to, and their end of it |
//! | [`theme`], [`widgets`] | roles and styles; drawing that panes share |
//! | [`app`], [`panes`] | the pure screen: model, commands, keymap; one folder a pane |
//! | [`tui`] | the terminal: input, draw loop, life cycle |
//! | [`demo`] | the scripted outage |
//! | [`cli`] | one file a sub-command |
//!
//! # Layers
//!
//! `clock, domain` ← `logstore`, `store` ← `registry` ← `service` ← `config` ← `runtime`;
//! `runtime` ← `agent`; `domain` ← `theme` ← `widgets` ← `app` + `panes`; `tui` joins `app` with `runtime` or
//! `agent`; `demo` and `cli` see all. `tests/it/tidy.rs` keeps the arrows.

pub mod agent;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod domain;
pub mod logstore;
pub mod panes;
pub mod registry;
pub mod runtime;
pub mod service;
pub mod store;
pub mod theme;
pub mod tui;
pub mod widgets;
