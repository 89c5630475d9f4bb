//! Points in time and spans of it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since the Unix epoch, as Nomad's API writes them. Always handed in by whoever proposes
/// a command; nothing in the core reads a clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The epoch itself, which also stands for "never".
    pub const ZERO: Self = Self(0);

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Whole seconds since the epoch; what is more is cut off.
    pub const fn whole_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// The span from `earlier` to this point; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether this is the epoch, used as "not set".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// Serde for a [`Duration`] as whole nanoseconds (Nomad's API). Also reads Go's duration strings.
pub mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes nanoseconds.
    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Reads nanoseconds or a string such as `"1m30s"`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        match Either::deserialize(from)? {
            Either::Nanos(n) => Ok(Duration::from_nanos(n)),
            Either::Text(text) => super::parse_duration(&text).map_err(serde::de::Error::custom),
        }
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    pub(super) enum Either {
        Nanos(u64),
        Text(String),
    }
}

/// As [`nanos`], for an optional span.
pub mod optional_nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes nanoseconds or null.
    pub fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::nanos::serialize(span, to),
            None => to.serialize_none(),
        }
    }

    /// Reads what [`serialize`] writes.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        match Option::<super::nanos::Either>::deserialize(from)? {
            None => Ok(None),
            Some(super::nanos::Either::Nanos(n)) => Ok(Some(Duration::from_nanos(n))),
            Some(super::nanos::Either::Text(text)) => {
                super::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
            }
        }
    }
}

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration; write a number with a unit, such as \"30s\", \"1m30s\" or \"500ms\""
)]
pub struct DurationError(String);

/// Reads a duration as Go writes it: decimal numbers, each with one of `ns us µs ms s m h`. A bare `0` is allowed,
/// negative spans are not.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let nanos = times(number, scale).and_then(|nanos| total.checked_add(nanos));
        // The largest span that Go can hold, about 292 years.
        total = nanos.filter(|nanos| *nanos <= i64::MAX.unsigned_abs()).ok_or_else(wrong)?;
        rest = after;
    }
    Ok(Duration::from_nanos(total))
}

/// A decimal number of units, to the nanosecond below. The fraction is counted as Go counts it, so that no span differs.
fn times(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let (mut digits, mut parts) = (0_u64, 1.0_f64);
    for digit in fraction.bytes() {
        let more = digits.checked_mul(10).map(|tens| tens + u64::from(digit - b'0'));
        let Some(more) = more.filter(|more| *more <= i64::MAX.unsigned_abs()) else { break };
        (digits, parts) = (more, parts * 10.0);
    }
    let fraction = (digits as f64 * (scale as f64 / parts)) as u64;
    whole.checked_mul(scale)?.checked_add(fraction)
}

/// Writes a span as a person would: `1m30s`, `250ms`, `0s`.
pub fn format_duration(span: Duration) -> impl fmt::Display {
    Spelled(span)
}

struct Spelled(Duration);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if secs == 0 && nanos > 0 {
            return match nanos {
                1_000_000.. => write!(f, "{}ms", nanos / 1_000_000),
                1_000.. => write!(f, "{}us", nanos / 1_000),
                _ => write!(f, "{nanos}ns"),
            };
        }
        let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
        if h > 0 {
            write!(f, "{h}h")?;
        }
        if m > 0 {
            write!(f, "{m}m")?;
        }
        let tenths = nanos / 100_000_000;
        if tenths > 0 && h == 0 && m == 0 {
            write!(f, "{s}.{tenths}s")
        } else if s > 0 || (h == 0 && m == 0) {
            write!(f, "{s}s")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            (".5m", 30_000),
            ("1.h", 3_600_000),
            ("+5s", 5_000),
            ("1m1h", 3_660_000),
            ("250ms", 250),
            ("0", 0),
            ("1h0m1s", 3_601_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s", "1d", "1e9s", "99999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_a_person_reads() {
        for (millis, text) in
            [(0, "0s"), (250, "250ms"), (1500, "1.5s"), (90_000, "1m30s"), (3_600_000, "1h")]
        {
            assert_eq!(format_duration(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
