//! Kinds of probes that look at logs, heartbeats, hosts, name servers and other monitors, against real ones.

mod heartbeats;
mod logs;
mod monitors;
mod peers;
mod plugins;
