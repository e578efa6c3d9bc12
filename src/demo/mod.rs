//! The scripted outage: a loopback service, a log writer, a database, a scenario.
