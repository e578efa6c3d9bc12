//! How durations, sizes, counts and times are written for people; the same everywhere. And how times are read back.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Writes how long something took, to two units: `850ms`, `4.1s`, `42s`, `3m12s`, `2h05m`, `2d 14h`.
pub fn duration(it: Duration) -> String {
    let (ms, seconds) = (it.as_millis(), it.as_secs());
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 => format!("{ms}ms"),
        1..10 => format!("{seconds}.{}s", it.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// Writes a span of time as a person sets it, whole seconds without units that are zero: `1m`, `1m30s`, `24h`, `7d`.
pub fn span(it: Duration) -> String {
    let seconds = it.as_secs();
    if seconds == 0 {
        return format!("{}ms", it.as_millis());
    }
    // A day and a bit are read as hours: `25h`, as they are written.
    let days = if seconds.is_multiple_of(86_400) && seconds > 86_400 { seconds / 86_400 } else { 0 };
    let rest = seconds - days * 86_400;
    let parts = [(days, "d"), (rest / 3600, "h"), (rest / 60 % 60, "m"), (rest % 60, "s")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// Writes how old something is, to one unit: `0s`, `42s`, `12m`, `13h`, `5d`, `3w`.
///
/// Weeks begin after 14 days, because `11d` is still a day that people remember.
pub fn age(it: Duration) -> String {
    let seconds = it.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        172_800..1_209_600 => format!("{}d", seconds / 86_400),
        _ => format!("{}w", seconds / 604_800),
    }
}

/// Returns the time from `then` to `now`; zero when `then` lies ahead (clocks of two hosts differ).
pub fn since(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Writes how long ago something was, to one unit: `13h ago`.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    format!("{} ago", age(since(now, then)))
}

/// Writes a running time as a clock: `00:07:41`, `127:00:03`.
pub fn stopwatch(it: Duration) -> String {
    let seconds = it.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Writes a size to two figures with binary steps, as `ls -h` and `du -h` do: `812B`, `1.2K`, `34M`, `1.2G`.
pub fn bytes(it: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if it < 1024 {
        return format!("{it}B");
    }
    let mut value = it as f64 / 1024.0;
    let mut unit = 0;
    // 999.5 would be printed as 1000: the next unit is shorter.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1}{}", UNITS[unit]) } else { format!("{value:.0}{}", UNITS[unit]) }
}

/// Writes a count in full: `1,204`.
pub fn count(it: u64) -> String {
    let digits = it.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a count in at most five characters: `1,204`, `12.3k`, `9.1M`.
pub fn count_short(it: u64) -> String {
    match it {
        0..10_000 => count(it),
        10_000..999_950 => format!("{:.1}k", it as f64 / 1e3),
        999_950..999_950_000 => format!("{:.1}M", it as f64 / 1e6),
        _ => format!("{:.1}G", it as f64 / 1e9),
    }
}

/// Writes a measured value in at most seven characters: `0.00074`, `3.9`, `17.8G`, `-12.5k`.
pub fn amount(it: f64) -> String {
    const STEPS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let size = it.abs();
    if size >= 999.5e12 || (size > 0.0 && size < 0.000_095) {
        return format!("{it:.0e}");
    }
    // What would be rounded up to the next step is written in it.
    let (scale, unit) = STEPS.into_iter().find(|(step, _)| size >= step * 0.999_95).unwrap_or((1.0, ""));
    let scaled = it / scale;
    let decimals = match scaled.abs() {
        it if !unit.is_empty() || it >= 99.95 => 1,
        it if it >= 0.1 => 2,
        _ => 5,
    };
    let text = format!("{scaled:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let text = if text == "-0" { "0" } else { text };
    format!("{text}{unit}")
}

/// Writes how much `new` differs from `old`: `+0.4%`, `-12%`, `0%`; `None` when there is nothing to compare with.
pub fn change(old: u64, new: u64) -> Option<String> {
    if old == 0 {
        return None;
    }
    let percent = (new as f64 - old as f64) / old as f64 * 100.0;
    Some(match percent.abs() {
        it if it < 0.05 => "0%".to_string(),
        it if it < 9.95 => format!("{percent:+.1}%"),
        _ => format!("{percent:+.0}%"),
    })
}

/// Writes one noun with its count: `1 line`, `3 lines`.
pub fn plural(it: u64, noun: &str) -> String {
    if it == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(it)) }
}

/// Writes a time of day: `14:43:58`.
pub fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// Writes a time of day without seconds: `14:43`.
pub fn clock_short(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M").to_string()
}

/// Writes a time so that the day is never in doubt: `14:43:58` today, `08-19 14:43` this year, `2024-08-19` before.
pub fn moment(now: Timestamp, at: Timestamp, zone: &TimeZone) -> String {
    let (today, that) = (now.to_zoned(zone.clone()), at.to_zoned(zone.clone()));
    let form = match (today.date() == that.date(), today.year() == that.year()) {
        (true, _) => "%H:%M:%S",
        (false, true) => "%m-%d %H:%M",
        (false, false) => "%Y-%m-%d",
    };
    that.strftime(form).to_string()
}

/// Writes date and time with the offset: `2024-08-19 14:43:58 +08:00`.
pub fn full(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Writes the RFC 3339 times among the words of a text as [`moment`] does; everything else stays as it is.
pub fn local_times(text: &str, now: Timestamp, zone: &TimeZone) -> String {
    let word = |it: &str| {
        let rest = it.trim_start_matches('(');
        let bare = rest.trim_end_matches([',', ':', ';', ')']);
        match bare.parse::<Timestamp>() {
            Ok(at) => format!("{}{}{}", &it[..it.len() - rest.len()], moment(now, at, zone), &rest[bare.len()..]),
            Err(_) => it.to_string(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Reads a time as people type it.
///
/// `now`; `-12m`, `@-12m`, `-1h30m` (before now); `14:05`, `14:05:30` (the last time the clock showed it);
/// `2024-08-19`, `2024-08-19 14:05[:30]` (in the zone); `08-19 14:05[:30]` (the last one, as [`moment`] writes it); RFC
/// 3339 with an offset.
///
/// # Errors
/// What is wrong with it, with the forms that are understood.
pub fn parse_when(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let word = text.trim();
    let word = word.strip_prefix('@').unwrap_or(word);
    if word == "now" {
        return Ok(now);
    }
    if let Some(back) = word.strip_prefix('-') {
        let back = parse_span(back).ok_or_else(|| not_a_time(text))?;
        return now.checked_sub(back).map_err(|_| format!("`{text}` is too long ago"));
    }
    if let Ok(at) = word.parse::<Timestamp>() {
        return Ok(at);
    }
    let here = now.to_zoned(zone.clone());
    let at = if let Ok(time) = Time::strptime("%H:%M:%S", word).or_else(|_| Time::strptime("%H:%M", word)) {
        let today = here.date().to_datetime(time);
        let at = instant(today, zone).ok_or_else(|| not_a_time(text))?;
        // Somebody who types 23:50 at ten past midnight means yesterday. A minute of grace, because
        // the minute being typed may not have begun by this clock.
        if at > now + SignedDuration::from_secs(60) {
            let yesterday = today.checked_sub(1.day()).map_err(|_| not_a_time(text))?;
            instant(yesterday, zone)
        } else {
            Some(at)
        }
    } else if let Ok(date) = Date::strptime("%Y-%m-%d", word) {
        instant(date.to_datetime(Time::midnight()), zone)
    } else {
        const FORMS: [&str; 4] = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
        let read = |word: &str| {
            FORMS.iter().find_map(|form| DateTime::strptime(form, word).ok()).and_then(|it| instant(it, zone))
        };
        let of_year = |year: i16| read(&format!("{year:04}-{word}"));
        let is_past = |it: &Timestamp| *it <= now + SignedDuration::from_secs(60);
        let this_year = || of_year(here.year()).filter(is_past);
        // Without the year it is the last such day there was, as far as a leap year back.
        read(word).or_else(this_year).or_else(|| (1..=8).find_map(|it| of_year(here.year() - it)))
    };
    at.ok_or_else(|| not_a_time(text))
}

/// Splits `@-12m text` into its time and the rest. Without a leading `@` there is no time and all is text.
///
/// # Errors
/// When something follows the `@` that is no time.
pub fn split_when<'a>(text: &'a str, now: Timestamp, zone: &TimeZone) -> Result<(Option<Timestamp>, &'a str), String> {
    let trimmed = text.trim_start();
    if !trimmed.starts_with('@') {
        return Ok((None, text));
    }
    let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
    let at = parse_when(&trimmed[..end], now, zone)?;
    Ok((Some(at), trimmed[end..].trim_start()))
}

fn not_a_time(text: &str) -> String {
    format!("`{text}` is not a time, write `-12m`, `14:05`, `2024-08-19 14:05` or RFC 3339")
}

fn instant(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_timestamp(at).ok()
}

/// Reads `12m`, `1h30m`, `90s`, `2d`.
pub fn parse_span(text: &str) -> Option<SignedDuration> {
    let mut total_s: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let unit_s = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total_s = total_s.checked_add(number.checked_mul(unit_s)?)?;
        rest = rest[digits + unit.len_utf8()..].trim_start();
    }
    (!text.is_empty()).then(|| SignedDuration::from_secs(total_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_amount_is_short_whatever_its_size() {
        for (value, text) in [
            (0.0, "0"),
            (3.9, "3.9"),
            (3.0, "3"),
            (0.000_741, "0.00074"),
            (0.000_01, "1e-5"),
            (99.97, "100"),
            (999.96, "1k"),
            (121.0, "121"),
            (-12_480.0, "-12.5k"),
            (17_826_840_576.0, "17.8G"),
            (5e20, "5e20"),
            (-0.000_001, "-1e-6"),
        ] {
            assert_eq!(amount(value), text);
            assert!(amount(value).len() <= 7);
        }
    }

    #[test]
    fn times_among_words_are_those_of_the_reader() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let said = local_times(
            "paged at 2026-11-23T05:01:16.391776159Z, (until 2026-11-24T00:00:00Z) after  3ms",
            at("2026-11-23T05:02:00Z"),
            &zone,
        );
        assert_eq!(said, "paged at 06:01:16, (until 11-24 01:00) after  3ms");
    }

    fn shanghai() -> TimeZone {
        TimeZone::get("Asia/Shanghai").unwrap()
    }

    #[test]
    fn a_duration_has_two_units_and_an_age_one() {
        let cases = [
            (0, "0ms", "0s"),
            (850, "850ms", "0s"),
            (4_150, "4.1s", "4s"),
            (9_999, "9.9s", "9s"),
            (42_000, "42s", "42s"),
            (192_000, "3m12s", "3m"),
            (7_500_000, "2h05m", "2h"),
            (46_800_000, "13h00m", "13h"),
            (100_000_000, "1d 3h", "27h"),
            (223_200_000, "2d 14h", "2d"),
            (2_592_000_000, "30d 0h", "4w"),
        ];
        for (ms, long, short) in cases {
            let it = Duration::from_millis(ms);
            assert_eq!((duration(it).as_str(), age(it).as_str()), (long, short), "{ms} ms");
        }
    }

    #[test]
    fn sizes_have_two_figures_and_never_four_digits() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (10_239, "10K"),
            (1_048_000, "1.0M"),
            (1_288_490_189, "1.2G"),
            (u64::MAX, "16E"),
        ];
        for (size_bytes, text) in cases {
            assert_eq!(bytes(size_bytes), text);
        }
    }

    #[test]
    fn counts_are_grouped_by_three() {
        assert_eq!([count(0), count(999), count(1204), count(9_100_000)], ["0", "999", "1,204", "9,100,000"]);
        assert_eq!([count_short(9999), count_short(12_345), count_short(9_100_000)], ["9,999", "12.3k", "9.1M"]);
        assert_eq!([count_short(999_949), count_short(999_950)], ["999.9k", "1.0M"]);
        assert_eq!([plural(1, "line"), plural(0, "line"), plural(1204, "line")], ["1 line", "0 lines", "1,204 lines"]);
    }

    #[test]
    fn a_change_says_its_sign() {
        assert_eq!(change(0, 5), None);
        assert_eq!(change(1000, 1004).as_deref(), Some("+0.4%"));
        assert_eq!(change(1000, 880).as_deref(), Some("-12%"));
        assert_eq!(change(1000, 1000).as_deref(), Some("0%"));
    }

    #[test]
    fn a_moment_of_another_day_shows_its_day() {
        let now = at("2024-08-19T06:51:31Z");
        assert_eq!(moment(now, at("2024-08-19T06:43:58Z"), &shanghai()), "14:43:58");
        assert_eq!(moment(now, at("2024-08-18T15:59:00Z"), &shanghai()), "08-18 23:59");
        assert_eq!(moment(now, at("2023-08-19T06:43:58Z"), &shanghai()), "2023-08-19");
        assert_eq!(full(now, &shanghai()), "2024-08-19 14:51:31 +08:00");
    }

    #[test]
    fn a_time_that_lies_ahead_is_zero_ago() {
        let now = at("2024-08-19T06:51:31Z");
        assert_eq!(ago(now, at("2024-08-19T07:00:00Z")), "0s ago");
        assert_eq!(stopwatch(since(now, at("2024-08-19T06:43:50Z"))), "00:07:41");
    }

    #[test]
    fn times_are_read_as_people_type_them() {
        let now = at("2024-08-19T06:51:31Z"); // 14:51:31 in Shanghai
        let cases = [
            ("now", "2024-08-19T06:51:31Z"),
            ("-12m", "2024-08-19T06:39:31Z"),
            ("@-12m", "2024-08-19T06:39:31Z"),
            ("-1h30m", "2024-08-19T05:21:31Z"),
            ("-90s", "2024-08-19T06:50:01Z"),
            ("14:05", "2024-08-19T06:05:00Z"),
            ("@14:05:30", "2024-08-19T06:05:30Z"),
            ("14:52", "2024-08-19T06:52:00Z"),
            ("23:50", "2024-08-18T15:50:00Z"),
            ("2024-08-19 14:05", "2024-08-19T06:05:00Z"),
            ("2024-08-19T14:05:30", "2024-08-19T06:05:30Z"),
            ("2024-08-19", "2024-08-18T16:00:00Z"),
            ("08-19 14:05", "2024-08-19T06:05:00Z"),
            ("08-18 23:59:30", "2024-08-18T15:59:30Z"),
            ("11-01 00:10", "2023-10-31T16:10:00Z"),
            ("02-29 12:00", "2024-02-29T04:00:00Z"),
            ("2024-08-19T14:05:00+08:00", "2024-08-19T06:05:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_when(text, now, &shanghai()), Ok(at(expected)), "{text}");
        }
        for text in [
            "",
            "@",
            "-",
            "-12",
            "-m",
            "12m",
            "25:00",
            "13-01 00:10",
            "tomorrow",
            "-9999999999999999999d",
            "-99999999d",
        ] {
            assert!(parse_when(text, now, &shanghai()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_note_may_open_with_a_time() {
        let now = at("2024-08-19T06:51:31Z");
        let split = |text| split_when(text, now, &shanghai());
        assert_eq!(split("@-12m pool grew"), Ok((Some(at("2024-08-19T06:39:31Z")), "pool grew")));
        assert_eq!(split("mail bob @-12m"), Ok((None, "mail bob @-12m")));
        assert!(split("@bob please look").is_err());
    }
}
