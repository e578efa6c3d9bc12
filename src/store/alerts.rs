//! What the alert policy knows, as rows by key.

use rusqlite::{Connection, params};

/// Writes a row; `None` removes it.
pub fn write(connection: &Connection, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => connection
            .prepare_cached(
                "INSERT INTO alert_row (key, value) VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![key, value])?,
        None => connection.prepare_cached("DELETE FROM alert_row WHERE key = ?")?.execute([key])?,
    };
    Ok(())
}

/// Reads all rows.
///
/// # Errors
/// When SQLite refuses.
pub fn read(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    read_into(connection, &mut all)?;
    Ok(all)
}

/// Reads rows until one cannot be read; those before it are in `all`.
///
/// # Errors
/// When SQLite refuses.
pub fn read_into(connection: &Connection, all: &mut Vec<(String, String)>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT key, value FROM alert_row ORDER BY key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        all.push((row.get(0)?, row.get(1)?));
    }
    Ok(())
}
