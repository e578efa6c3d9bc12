//! A host that is called otherwise than before: what was kept of it goes on under its new name.
//!
//! Without this a new `[host] name` would begin every probe anew: its history would stand under a name that nobody
//! looks at, and what is open would be told a second time.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::domain::alert::policy::keep;
use crate::domain::ids::{HostId, ProbeId};
use crate::store::alerts;

/// Gives what was kept last under another name to `host`, once: all of it or nothing.
///
/// One state directory is of one host, so whatever other name was used last was its own. A probe that has a past under
/// both names keeps them apart.
///
/// # Errors
/// When SQLite refuses.
pub fn follow(connection: &mut Connection, host: &HostId) -> rusqlite::Result<()> {
    let newest = "SELECT name FROM probe_state JOIN probe ON probe.id = probe_state.probe ORDER BY at DESC LIMIT 1";
    let newest: Option<String> = connection.query_row(newest, [], |row| row.get(0)).optional()?;
    let Some(newest) = newest.map(|it| ProbeId::of(&it)).filter(|it| it.host() != host.as_str()) else { return Ok(()) };
    let was = newest.host();
    let transaction = connection.transaction()?;
    transaction.execute(
        "UPDATE OR IGNORE probe SET name = ?1 || substr(name, length(?2) + 1) \
         WHERE substr(name, 1, length(?2) + 1) = ?2 || '/'",
        params![host.as_str(), was],
    )?;
    let rows = alerts::read(&transaction)?;
    for (key, value) in &rows {
        let Some((now, value)) = keep::renamed((key, value), was, host) else { continue };
        if now != *key {
            if rows.iter().any(|(it, _)| *it == now) {
                continue;
            }
            alerts::write(&transaction, key, None)?;
        }
        alerts::write(&transaction, &now, Some(&value))?;
    }
    transaction.commit()?;
    tracing::info!("this host was called `{was}`: what was kept of it goes on as `{host}`");
    Ok(())
}
