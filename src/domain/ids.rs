//! Stable names of things. Every id contains the host, so that facts of several hosts can meet on one screen.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of the host that a runtime runs on, as the user knows it (usually `uname -n`, first label).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(Arc<str>);

impl HostId {
    /// Makes a host id. `/` separates host and name in the other ids, so it is replaced here.
    pub fn new(name: &str) -> Self {
        Self(name.replace('/', "-").into())
    }

    /// Returns the bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        ///
        /// Text form: `<host>/<name>`.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a whole id, `<host>/<name>`, as [`Self::as_str`] gives it.
            pub fn of(id: &str) -> Self {
                Self(id.into())
            }

            /// Joins host and name.
            pub fn new(host: &HostId, name: &str) -> Self {
                Self(format!("{host}/{name}").into())
            }

            /// The host part.
            pub fn host(&self) -> &str {
                self.0.split_once('/').map_or("", |(host, _)| host)
            }

            /// The part people type: everything after the host.
            pub fn name(&self) -> &str {
                self.0.split_once('/').map_or(&self.0, |(_, name)| name)
            }

            /// The whole id, `<host>/<name>`.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A probe, named in the config.
    ProbeId;
    /// A backup job, named in the config.
    JobId;
    /// A log source: one stream of lines (one file of a glob is one source).
    SourceId;
    /// An incident; the name is `INC-<yyyymmdd>-<hhmm>-<4 random letters>`.
    IncidentId;
    /// One execution of a backup job; the name is `<job>@<UTC start, yyyymmddThhmmssZ>-<4 random letters>`.
    RunId;
}
