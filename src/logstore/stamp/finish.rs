//! From a date and a time of day to an instant: the zone behind it, or that of the source.

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::logstore::stamp::civil::{Clock, Day, days_from_civil, is_date, zone_offset};
use crate::logstore::stamp::{Stamp, StampReader, names};

impl StampReader {
    /// The last such day before the reference.
    pub(super) fn finish_without_year(
        &mut self,
        line: &[u8],
        start: usize,
        date: (i64, i64),
        clock: Clock,
    ) -> Option<Stamp> {
        let (zone, reference) = (&self.zone, self.reference);
        let year = *self.reference_year.get_or_insert_with(|| i64::from(zone.to_datetime(reference).year()));
        let limit = self.reference.as_second() + 86_400;
        let stamp = self.finish(line, start, (year, date.0, date.1), clock);
        match stamp {
            Some(stamp) if stamp.time.is_some_and(|it| it.as_second() <= limit) => Some(stamp),
            _ => self.finish(line, start, (year - 1, date.0, date.1), clock),
        }
    }

    /// A date that was read, with its time of day.
    pub(super) fn finish(&mut self, line: &[u8], start: usize, date: (i64, i64, i64), clock: Clock) -> Option<Stamp> {
        let (year, month, day) = date;
        if !is_date(date) {
            return None;
        }
        let number = days_from_civil(year, month, day);
        self.finish_on(line, start, Day { text: [0; 10], date, number }, clock)
    }

    /// The same of a day that is known to be one.
    pub(super) fn finish_on(&mut self, line: &[u8], start: usize, day: Day, clock: Clock) -> Option<Stamp> {
        let civil = day.number * 86_400 + clock.seconds;
        let (offset, end) = match zone_offset(line, clock.end) {
            Some(found) => found,
            None => {
                let own = self.civil_offset(civil, day.date, clock)?;
                names::read(line, clock.end, &self.zone, civil, own).unwrap_or((own, clock.end))
            }
        };
        let time = Timestamp::new(civil - offset, clock.nanos).ok();
        time.map(|time| Stamp { time: Some(time), range: start..end })
    }

    fn civil_offset(&mut self, civil: i64, date: (i64, i64, i64), clock: Clock) -> Option<i64> {
        let hour = civil.div_euclid(3600);
        if let Some((known, offset)) = self.hour_offset
            && known == hour
        {
            return Some(offset);
        }
        let at = |value: i64| i8::try_from(value).ok();
        let datetime = DateTime::new(
            i16::try_from(date.0).ok()?,
            at(date.1)?,
            at(date.2)?,
            at(clock.seconds / 3600)?,
            at(clock.seconds / 60 % 60)?,
            at((clock.seconds % 60).min(59))?,
            0,
        );
        let instant = self.zone.to_timestamp(datetime.ok()?).ok()?;
        let offset = civil - instant.as_second();
        // A zone change inside an hour (Lord Howe moves by 30 minutes) is off by that much for that hour.
        self.hour_offset = Some((hour, offset));
        Some(offset)
    }
}
