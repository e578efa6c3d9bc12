//! The manifest: what is written beside an artefact, last, and makes it a backup.
//!
//! Plain JSON that people and scripts can read. It carries its own sha256 as its last line, so that a flipped
//! bit in the manifest is found as surely as one in the artefact.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::ids::RunId;
use crate::domain::sanitise;

/// Version of the manifest that this program writes and the newest that it reads.
pub const SCHEMA: u32 = 1;

/// Largest manifest that is read; ours are about 2 KiB.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// What is known of an artefact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The program and version that wrote it.
    pub written_by: String,
    /// The job's name in the config.
    pub job: String,
    /// The run.
    pub run: RunId,
    /// The host that made it.
    pub host: String,
    /// Wall-clock start.
    pub started: Timestamp,
    /// Wall-clock end.
    pub ended: Timestamp,
    /// Duration by the monotonic clock.
    pub duration_ms: u64,
    /// The scheduled instant it satisfies; `None` when a person asked for it.
    pub slot: Option<Timestamp>,
    /// Data that was committed before this instant is inside.
    pub consistent_at: Timestamp,
    /// The source's kind: `file`, `sqlite`.
    pub source_kind: String,
    /// What was read, in words: usually a path.
    pub source: String,
    /// Version of what read it: `sqlite 3.50.4`.
    pub source_version: String,
    /// How a consistent state was taken.
    pub consistency: String,
    /// False when the source kept changing while it was read.
    pub consistent: bool,
    /// The artefact's file name.
    pub artefact: String,
    /// Bytes read from the source.
    pub raw_bytes: u64,
    /// Bytes of the artefact.
    pub stored_bytes: u64,
    /// sha256 of the source's bytes, in hex.
    pub sha256_raw: String,
    /// sha256 of the artefact's bytes, in hex.
    pub sha256_stored: String,
    /// Shell lines that restore it with plain tools, in the artefact's folder.
    pub restore_commands: Vec<String>,
}

impl Manifest {
    /// The text of the manifest file.
    pub fn encode(&self) -> String {
        // A struct of strings and numbers always has a JSON form.
        let body = serde_json::to_string_pretty(self).unwrap_or_default();
        let mut text = body.trim_end().trim_end_matches('}').trim_end().to_string();
        text.push_str(",\n");
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        text.push_str(&tail(&sha256));
        text
    }

    /// Reads a manifest file.
    ///
    /// # Errors
    /// In words, when it is damaged or of a newer schema.
    pub fn decode(text: &str) -> Result<Self, String> {
        let tail_length = tail(&"0".repeat(64)).len();
        let split = text.len().checked_sub(tail_length).filter(|it| text.is_char_boundary(*it));
        let Some((head, end)) = split.map(|it| text.split_at(it)) else {
            return Err("the manifest is cut off".into());
        };
        if end != tail(&hex(&Sha256::digest(head.as_bytes()))) {
            return Err("the manifest does not match its own sha256".into());
        }
        let mut manifest: Self =
            serde_json::from_str(text).map_err(|error| format!("the manifest is damaged: {error}"))?;
        if manifest.schema > SCHEMA {
            return Err(format!("the manifest has schema {}, this program reads up to {SCHEMA}", manifest.schema));
        }
        // The hash says that nothing changed, not that nobody hostile wrote it.
        let texts = [
            &mut manifest.written_by,
            &mut manifest.host,
            &mut manifest.source_kind,
            &mut manifest.source,
            &mut manifest.source_version,
            &mut manifest.consistency,
        ];
        for text in texts.into_iter().chain(manifest.restore_commands.iter_mut()) {
            *text = sanitise::text(text);
        }
        Ok(manifest)
    }
}

fn tail(sha256: &str) -> String {
    format!("  \"manifest_sha256\": \"{sha256}\"\n}}\n")
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|it| [DIGITS[usize::from(it >> 4)], DIGITS[usize::from(it & 15)]]).map(char::from).collect()
}

/// Quotes a word for a shell line; plain words stay as they are.
pub fn shell_quote(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "._-/+:=@,".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What a file name of ours says: `<job>_backup_<UTC>[-n].<ext>.zst`.
pub fn artefact_name(job: &str, started: Timestamp, attempt: u32, extension: &str) -> String {
    let stamp = started.strftime("%Y%m%dT%H%M%SZ");
    let attempt = if attempt > 1 { format!("-{attempt}") } else { String::new() };
    format!("{job}_backup_{stamp}{attempt}.{extension}.zst")
}

/// The job in an artefact's or manifest's file name.
pub fn job_of_name(name: &str) -> Option<&str> {
    name.rsplit_once("_backup_").map(|(job, _)| job)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::HostId;

    pub(crate) fn sample() -> Manifest {
        let started: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        Manifest {
            schema: SCHEMA,
            written_by: "hotseat 0.1.0".into(),
            job: "orders".into(),
            run: RunId::new(&HostId::new("h"), "orders@20261122T010000Z-abcd"),
            host: "h".into(),
            started,
            ended: started,
            duration_ms: 12,
            slot: Some(started),
            consistent_at: started,
            source_kind: "sqlite".into(),
            source: "/srv/订单.db".into(),
            source_version: "sqlite 3.50".into(),
            consistency: "backup API".into(),
            consistent: true,
            artefact: "orders_backup_20261122T010000Z.sqlite.zst".into(),
            raw_bytes: 1,
            stored_bytes: 2,
            sha256_raw: "00".into(),
            sha256_stored: "11".into(),
            restore_commands: vec!["zstd -dc x > y".into()],
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written_and_is_plain_json() {
        let text = sample().encode();
        assert_eq!(Manifest::decode(&text), Ok(sample()));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["job"], "orders");
    }

    #[test]
    fn names_are_taken_apart_from_the_right() {
        assert_eq!(job_of_name("a_backup_b_backup_20261122T010000Z.bin.zst"), Some("a_backup_b"));
        assert_eq!(job_of_name("notes.txt"), None);
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
        assert_eq!(shell_quote("/srv/a.db"), "/srv/a.db");
    }

    proptest! {
        #[test]
        fn one_flipped_bit_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = sample().encode().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let found = String::from_utf8(bytes).map_or(true, |text| Manifest::decode(&text).is_err());
            prop_assert!(found);
        }

        #[test]
        fn a_manifest_cut_anywhere_is_refused(at in any::<prop::sample::Index>()) {
            let text = sample().encode();
            let at = at.index(text.len());
            prop_assert!(text.get(..at).is_none_or(|it| Manifest::decode(it).is_err()));
        }
    }
}
