//! Instants on the wire: RFC 3339 in UTC with milliseconds, written without an allocation.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

/// A text that is not `YYYY-MM-DDTHH:MM:SS.mmmZ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an instant; write it as 2026-01-31T23:59:59.000Z")]
pub struct NotATimestamp;

const MS_PER_DAY: i64 = 86_400_000;
const LENGTH: usize = "2026-01-31T23:59:59.000Z".len();

impl Timestamp {
    /// The first instant of the year 0: what is before it is written as it.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The last millisecond of the year 9999: what is after it is written as it.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The text, as 24 ASCII bytes.
    pub(crate) fn text(self) -> [u8; LENGTH] {
        let ms = self.0.clamp(Self::MIN.0, Self::MAX.0);
        let (year, month, day) = civil(ms.div_euclid(MS_PER_DAY));
        let in_day = ms.rem_euclid(MS_PER_DAY);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(&mut text[0..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], in_day / 3_600_000);
        put(&mut text[14..16], in_day / 60_000 % 60);
        put(&mut text[17..19], in_day / 1_000 % 60);
        put(&mut text[20..23], in_day % 1_000);
        text
    }
}

fn put(digits: &mut [u8], mut number: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a remainder of ten");
        number /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level
/// date algorithms": years begin in March, so that the leap day is the last of them).
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// The inverse of [`civil`].
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        let bytes: &[u8; LENGTH] = text.as_bytes().try_into().map_err(|_| NotATimestamp)?;
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().try_fold(0, |number, byte| {
                byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
            })
        };
        let parse = || {
            let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
            let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
            let in_day = ((hour * 60 + minute) * 60 + second) * 1_000 + number(20..23)?;
            Some(Self(days(year, month, day) * MS_PER_DAY + in_day))
        };
        let instant = parse().ok_or(NotATimestamp)?;
        // A date that does not exist (a 13th month, a 30th of February) is written differently.
        if &instant.text() == bytes { Ok(instant) } else { Err(NotATimestamp) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("ASCII digits and separators"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        serializer.serialize_str(std::str::from_utf8(&text).expect("ASCII digits and separators"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant such as 2026-01-31T23:59:59.000Z")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants_have_their_known_text() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(ms).to_string(), text);
        }
        assert_eq!(Timestamp(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in ["2026-02-30T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "2026-01-01", ""] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_survives_its_text(ms in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let instant = Timestamp(ms);
            prop_assert_eq!(instant.to_string().parse(), Ok(instant));
        }
    }
}
