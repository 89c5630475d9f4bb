//! Serde for the few [`Timestamp`]s that Nomad writes as RFC 3339 in UTC, its zero being `0001-01-01T00:00:00Z`.

use serde::{Deserialize, Deserializer, Serializer};

use crate::Timestamp;

const ZERO: &str = "0001-01-01T00:00:00Z";
const NANOS: i64 = 1_000_000_000;

/// A text that is not a point in time as RFC 3339 writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time such as `2026-11-20T09:30:00Z`")]
pub struct TimeError(String);

/// Writes RFC 3339.
pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*at))
}

/// Reads RFC 3339.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    match Option::<String>::deserialize(from)? {
        Some(text) => parse(&text).map_err(serde::de::Error::custom),
        None => Ok(Timestamp::ZERO),
    }
}

/// The time as text, in UTC, with as many decimals as it needs.
pub fn format(at: Timestamp) -> String {
    if at.is_zero() {
        return ZERO.to_owned();
    }
    let (secs, nanos) = (at.0.div_euclid(NANOS), at.0.rem_euclid(NANOS));
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The time that a text names, with any offset.
///
/// # Errors
/// When it is not RFC 3339, or lies outside the years 1678 to 2261 that nanoseconds can count.
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    if text == ZERO || text.is_empty() {
        return Ok(Timestamp::ZERO);
    }
    read(text).ok_or_else(|| TimeError(text.chars().take(64).collect()))
}

fn read(text: &str) -> Option<Timestamp> {
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let marks = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    if marks.iter().any(|(at, mark)| text.get(*at..at + 1) != Some(mark)) {
        return None;
    }
    text.get(10..11).filter(|mark| matches!(*mark, "T" | "t" | " "))?;
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let fraction = after.get(..end).filter(|part| !part.is_empty())?;
        let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
        nanos = nine.parse().ok()?;
        rest = after.get(end..)?;
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let (hours, minutes) = rest.get(1..)?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60)
        }
    };
    let secs = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    secs.checked_mul(NANOS)?.checked_add(nanos).map(Timestamp)
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of one, in cycles of 400 years or 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let cycle = shifted.div_euclid(146_097);
    let of_cycle = shifted.rem_euclid(146_097);
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + cycle * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let of_cycle = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_known_times() {
        assert_eq!(format(Timestamp::ZERO), "0001-01-01T00:00:00Z");
        assert_eq!(format(Timestamp::from_secs(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(
            format(Timestamp(1_795_166_745_120_000_000)),
            "2026-11-20T09:25:45.12Z".to_owned()
        );
    }

    #[test]
    fn reads_offsets_and_refuses_nonsense() {
        assert_eq!(parse("2000-02-29T02:00:00+02:00"), Ok(Timestamp::from_secs(951_782_400)));
        for wrong in
            ["2000-02-29", "2000-13-01T00:00:00Z", "2000-01-01T00:00:00", "é000-01-01T00:00"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(nanos in any::<i64>()) {
            prop_assert_eq!(parse(&format(Timestamp(nanos))), Ok(Timestamp(nanos)));
        }
    }
}
