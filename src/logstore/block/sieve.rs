//! Finds the lines that may pass the comparison of a field, without reading all fields of each.
//!
//! A field stands behind its name, or in a line of a known layout by its place. Both are looked at where they
//! stand, and a value that does not pass rules the line out there. What is left is asked whole: a sieve lets too
//! much through, never too little.

use std::ops::Range;

use crate::domain::query::field::{FieldTest, is_positional};
use crate::domain::query::matcher::Pattern;
use crate::logstore::block::mesh::{Mesh, WIDTH};
use crate::logstore::format::{Format, text};
use crate::logstore::glance::Layouts;
use crate::logstore::stamp::StampReader;

/// Names that the header of a plain text line gives by their place.
const HEADER_NAMES: [&str; 6] = ["thread", "logger", "app", "pid", "message", "stream"];

/// Places for the values that were compared last, a power of two: there are few statuses.
const VERDICTS: usize = 16;

/// What may pass, in a block, in order.
pub(super) struct Sieve<'m> {
    test: &'m FieldTest,
    name: &'m Pattern,
    is_positional: bool,
    is_status: bool,
    /// Passes over what can not pass.
    mesh: Option<Mesh>,
    /// A line of HAProxy behind a header of syslog may stand in the block; nothing before it was looked for.
    has_haproxy: Option<bool>,
    layouts: Layouts,
    reader: StampReader,
    /// Values of up to seven bytes, with their length, and whether they pass.
    verdicts: [(u64, bool); VERDICTS],
    /// The next place of the name that may pass, once it was looked for; nothing when there is none.
    named: Option<Option<Range<usize>>>,
    /// The same for a line with the field in its place.
    placed: Option<Option<Range<usize>>>,
}

impl<'m> Sieve<'m> {
    /// For a test that no record passes without the field, and the last key of its name.
    pub(super) fn new(test: &'m FieldTest, name: &'m Pattern, reader: StampReader) -> Self {
        Self {
            test,
            name,
            is_positional: is_positional(&test.name),
            is_status: test.name.eq_ignore_ascii_case("status"),
            mesh: test.sieve_name().and_then(|it| Mesh::new(test, it)),
            has_haproxy: None,
            layouts: Layouts::default(),
            reader,
            // No value is this long.
            verdicts: [(u64::MAX, false); VERDICTS],
            named: None,
            placed: None,
        }
    }

    /// The first place at or behind `at`, where a line begins, whose record may pass.
    pub(super) fn find_at(&mut self, bytes: &[u8], at: usize) -> Option<Range<usize>> {
        let is_behind = |it: &Option<Range<usize>>| it.as_ref().is_none_or(|it| it.start >= at);
        let named = match self.named.take().filter(is_behind) {
            Some(known) => known,
            None => self.next_named(bytes, at),
        };
        let placed = match self.placed.take().filter(is_behind) {
            Some(known) => known,
            None if self.is_positional => self.next_placed(bytes, at),
            None => None,
        };
        let first = match (&named, &placed) {
            (Some(named), Some(placed)) if placed.start < named.start => Some(placed.clone()),
            (Some(named), _) => Some(named.clone()),
            (None, placed) => placed.clone(),
        };
        (self.named, self.placed) = (Some(named), Some(placed));
        first
    }

    /// Whether a value passes. Reading a number costs more than all the rest of a line.
    fn passes(&mut self, value: &[u8]) -> bool {
        let mut key = [0; 8];
        let Some(text) = key.get_mut(..value.len()).filter(|it| it.len() < 8) else {
            return self.test.passes(Some(value));
        };
        text.copy_from_slice(value);
        key[7] = value.len() as u8;
        let key = u64::from_le_bytes(key);
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % VERDICTS;
        if self.verdicts[place].0 != key {
            self.verdicts[place] = (key, self.test.passes(Some(value)));
        }
        self.verdicts[place].1
    }

    fn next_named(&mut self, bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
        loop {
            let hit = match &self.mesh {
                Some(mesh) => mesh.next_named(bytes, at)?,
                None => self.name.find_at(bytes, at)?,
            };
            if self.passes_behind(bytes, hit.end) != Some(false) {
                return Some(hit);
            }
            at = hit.end;
        }
    }

    /// Whether the value behind a name passes; `None` when that is not plain to see.
    fn passes_behind(&mut self, bytes: &[u8], end: usize) -> Option<bool> {
        let blanks = |at: usize| bytes[at..].iter().take_while(|it| matches!(it, b' ' | b'\t' | b'\n' | b'\r')).count();
        match bytes.get(end)? {
            b'"' => {
                let at = end + 1 + blanks(end + 1);
                match bytes.get(at)? {
                    b':' => self.passes_json(bytes, at + 1 + blanks(at + 1)),
                    // As klog writes it.
                    b'=' => self.passes_pair(bytes, at + 1),
                    // `"key":"status","value":{…}`, as OpenTelemetry writes it, or a damaged line of its kind.
                    _ => None,
                }
            }
            b'=' => self.passes_pair(bytes, end + 1),
            // A binary value of an export, and a name that a format writes so.
            b'\n' | b':' => None,
            _ => Some(false),
        }
    }

    fn passes_json(&mut self, bytes: &[u8], at: usize) -> Option<bool> {
        match bytes.get(at)? {
            b'"' => self.passes_quoted(bytes, at + 1),
            b'{' | b'[' => None,
            _ => {
                let is_end = |it: &u8| matches!(it, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                let length = bytes[at..].iter().position(is_end)?;
                Some(self.passes(&bytes[at..at + length]))
            }
        }
    }

    fn passes_pair(&mut self, bytes: &[u8], at: usize) -> Option<bool> {
        if bytes.get(at)? == &b'"' {
            return self.passes_quoted(bytes, at + 1);
        }
        let length = bytes[at..].iter().position(|it| matches!(it, b' ' | b'\t' | b'\n' | b'\r'))?;
        let value = &bytes[at..at + length];
        let is_inside = |it: &u8| !matches!(it, b',' | b';' | b')' | b']' | b'}');
        let end = value.iter().rposition(is_inside).map_or(0, |it| it + 1);
        Some(self.passes(&value[..end]))
    }

    fn passes_quoted(&mut self, bytes: &[u8], at: usize) -> Option<bool> {
        let end = at + memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        (bytes[end] == b'"').then(|| self.passes(&bytes[at..end]))
    }

    /// The next line that may pass by what stands in its place.
    fn next_placed(&mut self, bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
        if !self.is_status || self.mesh.is_none() || self.has_haproxy(bytes) {
            return self.next_placed_before(bytes, at, bytes.len());
        }
        while let Some(near) = self.mesh.as_ref().and_then(|it| it.next_status(bytes, at)) {
            at = memchr::memrchr(b'\n', &bytes[at..near]).map_or(at, |it| at + it + 1);
            let behind = near + WIDTH;
            if let Some(found) = self.next_placed_before(bytes, at, behind) {
                return Some(found);
            }
            // Of the line that goes on behind them all was looked at.
            let rest = bytes.get(behind - 1..)?;
            at = behind + memchr::memchr(b'\n', rest)?;
        }
        None
    }

    /// The next line that may pass, of those that begin before `until`.
    fn next_placed_before(&mut self, bytes: &[u8], mut at: usize, until: usize) -> Option<Range<usize>> {
        while at < until.min(bytes.len()) {
            if self.is_status
                && let Some((status, end)) = self.layouts.status(bytes, at)
            {
                if self.passes(status) {
                    return Some(at..at);
                }
                at = end;
                continue;
            }
            let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length + 1);
            // The fields of an object have their names.
            if bytes[at] != b'{' && self.may_pass_by_place(bytes, at, end) {
                return Some(at..at);
            }
            at = end;
        }
        None
    }

    fn has_haproxy(&mut self, bytes: &[u8]) -> bool {
        *self.has_haproxy.get_or_insert_with(|| memchr::memmem::find(bytes, b"haproxy").is_some())
    }

    fn may_pass_by_place(&mut self, bytes: &[u8], at: usize, end: usize) -> bool {
        let line = &bytes[at..end];
        let has_haproxy = !self.is_status || self.has_haproxy(bytes);
        if !has_haproxy && memchr::memchr2(b']', b'}', line).is_none() {
            return false;
        }
        let stamp_end = match self.layouts.moment(bytes, at) {
            Some(moment) => moment.stamp_end,
            None => {
                let stamp = self.reader.read(line);
                if let Some(stamp) = &stamp {
                    self.layouts.learn(line, stamp, &self.reader);
                }
                stamp.map_or(0, |it| u16::try_from(it.range.end).map_or(0, usize::from))
            }
        };
        let line = text::without_line_end(line);
        // An object may follow what gives a field by its place.
        if line.ends_with(b"}") {
            return true;
        }
        // Only web servers and proxies write a status by its place: behind the bracket of their time, or as HAProxy does.
        if !has_haproxy && line.get(stamp_end) != Some(&b']') {
            return false;
        }
        match text::recognise(line, stamp_end) {
            Format::Logfmt | Format::Plain | Format::Json | Format::Export => false,
            Format::Log4j | Format::Python | Format::Text => {
                HEADER_NAMES.iter().any(|it| it.eq_ignore_ascii_case(&self.test.name))
            }
            Format::Access => {
                let mut passes = false;
                text::fields(line, stamp_end, None, &mut |key, value| {
                    let is_it = text::is_end_of(key, self.test.name.as_bytes());
                    passes = is_it && self.test.passes(Some(&value.text()));
                    !is_it
                });
                passes
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use crate::domain::query::Query;
    use crate::domain::query::matcher::Matcher;
    use crate::logstore::block::reader::BlockReader;
    use crate::logstore::block::{Detail, Times};
    use crate::logstore::segment::Segment;
    use crate::logstore::tests::hurt;

    /// Lines of the layouts in which fields stand, and some that only look like one of them.
    const LINES: &[&str] = &[
        "10.0.0.1 - - [22/Nov/2026:10:20:30 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"curl\"",
        "10.0.0.12 - - [22/Nov/2026:10:20:31 +0000] \"GET /a\\\"b 1 HTTP/1.1\" 404 12 \"-\" \"curl\"",
        "10.0.0.12 - - [22/Nov/2026:10:20:31 +0000] \"GET /a\\\" 502 HTTP/1.1\" 200 12 \"-\" \"curl\"",
        "10.10.10.12 - bob [22/Nov/2026:10:20:31 +0000] \"GET /?status=503&a=b HTTP/1.1\" 503 12 \"-\" \"curl\"",
        "10.10.10.12 - bob [22/Nov/2026:10:20:31 +0000] \"GET /?status=503 HTTP/1.1\" 200 12 \"-\" \"curl\"",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"\" 400 0 \"-\" \"-\"",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET /",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\" 500",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\"  500\t7",
        "a.example 10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\" 503 7 \"-\" \"x\"",
        "10.0.0.1:41 [22/Nov/2026:10:20:31.123] front back/srv 1/2/3/4/5 503 12 - - ---- 1/1/1/1/0 0/0 \"GET /\"",
        "{\"level\":\"info\",\"time\":\"2026-11-22T10:20:30.123Z\",\"status\":200,\"took_ms\":3}",
        "{\"level\":\"info\",\"time\":\"2026-11-22T10:20:30.123Z\",\"status\" : \"502\",\"took_ms\":300}",
        "{\"time\":\"2026-11-22T10:20:30.123Z\",\"http\":{\"Status\":503},\"took\":\"1.5s\"}",
        "{\"time\":\"2026-11-22T10:20:30.123Z\",\"http.status\":504,\"status\":200}",
        "{\"time\":\"2026-11-22T10:20:30.123Z\",\"msg\":\"\\\"status\\\":500\",\"took_ms\":[1]}",
        "{\"time\":\"2026-11-22T10:20:30.123Z\",\"status\":{\"code\":500},\"a\":\"status\"}",
        "{\"time\":\"2026-11-22T10:20:30.123Z\",\"status\":\"5\\u0030\\u0030\"}",
        "{\"timeUnixNano\":\"1787121001000000000\",\"attributes\":[{\"key\":\"status\",\"value\":{\"intValue\":\"500\"}}]}",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"1787121001000000000\",\"attributes\":[{\"value\":{\"intValue\":200},\"key\":\"status\"}]},{\"attributes\":[{\"key\":\"http.status\",\"value\":{\"intValue\":\"503\"}}]}]}]}]}",
        "{",
        "  \"time\": \"2026-11-22T10:20:30.123Z\",",
        "  \"status\":",
        "    500",
        "}",
        "2026-11-22T10:20:30.123Z INFO  [auth] [main] handled status=200 took_ms=29",
        "2026-11-22T10:20:30.123Z WARN  [auth] [main] handled status=502, took_ms=290)",
        "2026-11-22T10:20:30.123Z WARN  [auth] [main] handled \"status\"=\"502\" xstatus=1 status_x=900",
        "2026-11-22T10:20:30.123Z stdout F {\"status\":500}",
        "Nov 22 10:20:31 host app[12]: status=503 {\"status\":200}",
        "[Sun Nov 22 10:20:31.123 2026] [core:error] [pid 9] AH1: x",
        "E1122 10:20:31.123456       1 main.go:10] \"klog\" status=\"500\"",
        "ts=2026-11-22T10:20:31Z status=500 took_ms=\"77\" msg=logfmt",
        "ts=2026-11-22T10:20:31Z status=200 took_ms=77 msg=logfmt",
        "ts=2026-11-22T10:20:31Z status=4e3 took_ms=5",
        "{\"time\":\"2026-11-22T10:20:30.123Z\",\"status\":5.04E+2,\"took_ms\":3}",
        "{\"time\":\"2026-11-22T10:20:30.123Z\",\"status\":1e3,\"took_ms\":1.5E-1}",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\" 2e3 7 \"-\" \"x\"",
        "ts=2026-11-22T10:20:31Z status=4e3 Status=2000 took_ms=7.5e1 STATUS=503",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\" 2000 7 \"-\" \"x\"",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\"503 7 \"-\" \"x\"",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\"\t+502 7 \"-\" \"x\"",
        "10.0.0.1 - - [22/Nov/2026:10:20:31 +0000] \"GET / HTTP/1.1\" 200 7 \"-\" \"x\" {\"status\":504}",
        "Nov 22 10:20:31 host haproxy[12]: 10.0.0.1:41 [22/Nov/2026:10:20:31.123] f b/s 1/2/3/4/5 503 1 - - ---- 1/1",
        "2026-11-22T10:20:30.123Z stdout F {\"log\":\"{\\\"status\\\":500}\"}",
        "status=500 without a time",
        "# Time: 2026-11-22T10:20:31Z",
        "# Query_time: 0.5  Rows_sent: 500",
        "    at status=500",
        "",
    ];
    const QUERIES: &[&str] = &[
        "status>=500",
        "status>499",
        "status>=502",
        "status>=1000",
        "status<300",
        "status=504",
        "status=1000",
        "took_ms<1",
        "status=~\"^50\"",
        "http.status>=503",
        "took_ms>20",
        "bytes>5",
        "pid>1",
        "query_time>0.1",
        "took>1s",
        "status>=500 /GET/",
        "-status>=500",
        "status!=200",
    ];
    /// What is put instead of bytes.
    const BITS: &[&str] = &["0", "5", " ", "[", "]", "\"", ":", "=", ",", "{", "}", "\\", "\n", "\r", "\t", "s"];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_sieve_lets_through_what_passes_line_by_line(
            chosen in prop::collection::vec((0..LINES.len(), 1..4_usize), 1..12),
            hurts in prop::collection::vec((0..2000_usize, 0..BITS.len(), 0..3_usize), 0..5),
        ) {
            let text = hurt((LINES, &chosen), (BITS, &hurts));
            let segment = Segment::memory(0);
            segment.append(text.as_bytes(), Timestamp::UNIX_EPOCH);
            let reader = BlockReader::new(TimeZone::UTC);
            let block = reader.block_once(&segment, segment.size_bytes(), 0, Vec::new()).unwrap();
            let arrival = |_| Timestamp::UNIX_EPOCH;
            for query in QUERIES {
                let query = Query::parse(query).unwrap();
                let matcher = Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
                let wanted = Detail::Groups { phase: 0, stripe: None };
                let Some(hits) = block.near_hits(&matcher, wanted, Times::Read, &arrival) else { continue };
                let found: Vec<u32> = hits.spans.iter().map(|it| it.start).collect();
                let passing = block.spans().iter().enumerate().filter(|(it, _)| block.passes(*it, &matcher, &arrival));
                let expected: Vec<u32> = passing.map(|(_, span)| span.start).collect();
                prop_assert_eq!(found, expected, "{} on {}", query, text);
            }
        }
    }

    #[test]
    fn an_attribute_without_its_comma_is_read_as_carefully_as_the_rest() {
        let line =
            r#"{"timeUnixNano":"1787121001000000000","attributes":[{"key":"status""value":{"intValue":"500"}}]}"#;
        let segment = Segment::memory(0);
        segment.append(line.as_bytes(), Timestamp::UNIX_EPOCH);
        let reader = BlockReader::new(TimeZone::UTC);
        let block = reader.block_once(&segment, segment.size_bytes(), 0, Vec::new()).unwrap();
        let query = Query::parse("status>=500").unwrap();
        let matcher = Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
        let passes = block.passes(0, &matcher, &|_| Timestamp::UNIX_EPOCH);
        let wanted = Detail::Groups { phase: 0, stripe: None };
        let hits = block.near_hits(&matcher, wanted, Times::Read, &|_| Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(hits.spans.len(), usize::from(passes));
    }

    #[test]
    fn an_access_log_is_sifted_without_splitting_it() {
        let segment = Segment::memory(0);
        segment.append(LINES[..6].join("\n").as_bytes(), Timestamp::UNIX_EPOCH);
        let reader = BlockReader::new(TimeZone::UTC);
        let block = reader.block_once(&segment, segment.size_bytes(), 0, Vec::new()).unwrap();
        let matcher =
            |query: &str| Matcher::new(&Query::parse(query).unwrap(), Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
        let counted = |query: &str| {
            let counted = block.count_near(&matcher(query), &|_| Timestamp::UNIX_EPOCH);
            (counted.map(|it| it.records), block.spans.get().is_some())
        };
        assert_eq!(counted("status>=500"), (Some(1), false));
        assert_eq!(counted("bytes<1"), (Some(1), false));
    }
}
