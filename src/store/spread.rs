//! How times are spread: a histogram in logarithmic buckets, small on disk, that can be merged.
//!
//! Percentiles of percentiles are nonsense; buckets of the same borders can be added, so that the 95th
//! percentile of a month is that of all its runs. A bucket is at most 1/16 of its value wide, so a percentile
//! is off by about 3 % at most.

use std::collections::BTreeMap;
use std::time::Duration;

/// Buckets of each power of two.
const PARTS: u64 = 16;
/// `PARTS` as a power of two.
const PARTS_BITS: u32 = 4;
/// Largest index that `index` can give.
const INDEX_MAX: u64 = (64 - PARTS_BITS as u64) * PARTS + PARTS - 1;

/// Counts of times by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    counts: BTreeMap<u16, u32>,
}

impl Spread {
    /// Adds one time.
    pub fn add(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let count = self.counts.entry(index(us)).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds all times of another.
    pub fn merge(&mut self, other: &Self) {
        for (index, count) in &other.counts {
            let sum = self.counts.entry(*index).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// The time that `percent` of 100 did not exceed (nearest rank), or `None` when there are none.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let total: u64 = self.counts.values().map(|it| u64::from(*it)).sum();
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in &self.counts {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(Duration::from_micros(middle(u64::from(*index))));
            }
        }
        None
    }

    /// The bytes kept on disk: pairs of varints, the distance to the bucket before and the count.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.counts.len() * 3);
        let mut before = 0;
        for (index, count) in &self.counts {
            put_varint(&mut bytes, u64::from(index - before));
            put_varint(&mut bytes, u64::from(*count));
            before = *index;
        }
        bytes
    }

    /// Reads [`Spread::encode`] back; what is damaged ends it early.
    pub fn decode(mut bytes: &[u8]) -> Self {
        let mut counts = BTreeMap::new();
        let mut index = 0;
        while !bytes.is_empty() {
            let (Some(step), Some(count)) = (take_varint(&mut bytes), take_varint(&mut bytes)) else { break };
            index += step.min(INDEX_MAX);
            if index > INDEX_MAX {
                break;
            }
            counts.insert(index as u16, u32::try_from(count).unwrap_or(u32::MAX));
        }
        Self { counts }
    }
}

fn index(us: u64) -> u16 {
    if us < PARTS {
        return us as u16;
    }
    let power = us.ilog2();
    let part = (us >> (power - PARTS_BITS)) & (PARTS - 1);
    // At most `INDEX_MAX`, which fits.
    (u64::from(power - PARTS_BITS + 1) * PARTS + part) as u16
}

/// The middle of a bucket, in microseconds.
fn middle(index: u64) -> u64 {
    if index < PARTS {
        return index;
    }
    let shift = index / PARTS - 1;
    let least = (PARTS + index % PARTS) << shift;
    least + (1 << shift) / 2
}

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number from the front; `None` when it is cut off or too large.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spread(times_us: &[u64]) -> Spread {
        let mut spread = Spread::default();
        for us in times_us {
            spread.add(Duration::from_micros(*us));
        }
        spread
    }

    proptest! {
        #[test]
        fn a_percentile_is_off_by_four_percent_at_most(
            mut times in proptest::collection::vec(0u64..100_000_000, 1..200),
            percent in 1u64..=100,
        ) {
            let found = spread(&times).percentile(percent).expect("there are times").as_micros() as f64;
            times.sort_unstable();
            let exact = times[(times.len() as u64 * percent).div_ceil(100).max(1) as usize - 1] as f64;
            prop_assert!((found - exact).abs() <= exact * 0.04 + 1.0, "{found} for {exact}");
        }

        #[test]
        fn merged_is_the_same_as_added_together(
            a in proptest::collection::vec(0u64..u64::from(u32::MAX), 0..50),
            b in proptest::collection::vec(0u64..u64::from(u32::MAX), 0..50),
        ) {
            let mut merged = Spread::decode(&spread(&a).encode());
            merged.merge(&Spread::decode(&spread(&b).encode()));
            prop_assert_eq!(merged, spread(&[a, b].concat()));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Spread::decode(&bytes).percentile(95);
        }
    }

    #[test]
    fn the_longest_time_has_a_bucket() {
        assert!(u64::from(index(u64::MAX)) <= INDEX_MAX);
        assert_eq!(spread(&[u64::MAX >> 1]).encode().len(), 3);
        assert_eq!(Spread::default().percentile(50), None);
    }
}
