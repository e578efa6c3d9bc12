//! Log lines copied into an incident, so that the evidence outlives the log.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::incident::PinRequest;
use crate::domain::incident::entry::{EntryBody, PIN_CHOSEN, PIN_CONTEXT, Pin};
use crate::domain::incident::journal::sha256_hex;
use crate::domain::incident::name;
use crate::domain::log::Cursor;
use crate::domain::sanitise;
use crate::service::incident::files::{StoreError, create_dirs, write_new};
use crate::service::incident::store::{Added, IncidentStore};

/// Part of a pin that also stands in its entry: what a screen shows without asking for the file.
const TEXT_MAX_BYTES: usize = 16 * 1024;
/// Longest pin: a hundred stack traces.
const PIN_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Numbers tried when others pin at the same time.
const NUMBER_TRIES: u32 = 32;

impl IncidentStore {
    /// Copies log lines into an incident.
    pub fn pin(&mut self, request: &PinRequest, now: Timestamp) -> Result<Added, StoreError> {
        let Some(chosen) = request.records.iter().find(|it| it.chosen).or(request.records.first()) else {
            return Err(StoreError::new("nothing to pin: no line is selected"));
        };
        let mut text = String::new();
        let mut lines = 0;
        for record in &request.records {
            for line in sanitise::multiline(&record.text).lines() {
                text.push_str(if record.chosen { PIN_CHOSEN } else { PIN_CONTEXT });
                text.push_str(line);
                text.push('\n');
                lines += u32::from(record.chosen);
            }
        }
        if text.len() > PIN_MAX_BYTES {
            return Err(StoreError::new(format!("the pin has {} bytes, more than {PIN_MAX_BYTES}", text.len())));
        }
        let name = self.target(request.incident.as_ref(), now)?;
        let begun = self.begin(&name, now)?;
        let file = self.write_pin(&name, &chosen.source, &text)?;
        let mut shown = TEXT_MAX_BYTES.min(text.len());
        while !text.is_char_boundary(shown) {
            shown -= 1;
        }
        let pin = Pin {
            source: sanitise::text(&chosen.source),
            comment: sanitise::text(request.comment.trim()),
            time: chosen.time,
            lines,
            file,
            sha256: sha256_hex(text.as_bytes()),
            text: text[..shown].to_string(),
            cut_bytes: (text.len() - shown) as u64,
            places: Value::Array(
                request.records.iter().filter(|it| it.chosen).map(|it| place(&it.source, &it.cursor)).collect(),
            ),
        };
        // Evidence stands on the timeline when it happened is not always known: the pin's own time is when
        // somebody found it, the record's time is in its text.
        let mut added = self.append(&name, &[self.personal(None, EntryBody::Pin(pin))], now)?;
        added.new |= begun;
        Ok(added)
    }

    fn write_pin(&self, name: &str, source: &str, text: &str) -> Result<String, StoreError> {
        let dir = self.dir(name).join("pins");
        create_dirs(&dir)?;
        let taken = std::fs::read_dir(&dir).map_err(|error| StoreError::io("read the directory", &dir, &error))?;
        let number = |it: std::fs::DirEntry| it.file_name().to_str()?.split('-').next()?.parse::<u32>().ok();
        let highest = taken.flatten().filter_map(number).max().unwrap_or(0);
        for number in highest + 1..=highest + NUMBER_TRIES {
            let file = format!("{number:04}-{}.log", name::file_part(source));
            if write_new(&dir.join(&file), text.as_bytes())? {
                return Ok(format!("pins/{file}"));
            }
        }
        Err(StoreError::new(format!("could not find a free number for a pin in `{}`", dir.display())))
    }
}

fn place(source: &str, cursor: &Cursor) -> Value {
    json!({ "source": source, "cursor": cursor })
}
