//! Functions over points in time. The time is always handed in: there is none that reads a clock.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time, Weekday};

use super::{Args, Function};
use crate::expr::cty::Value;

pub(super) const FUNCTIONS: &[Function] =
    &[Function("formatdate", 2, 2, format_date), Function("timeadd", 2, 2, time_add)];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A time of the day somewhere, and how many minutes that is ahead of UTC.
struct Moment {
    local: DateTime,
    ahead: i32,
}

fn moment(text: &str) -> Result<Moment, String> {
    read(text)
        .ok_or_else(|| format!("`{text}` is not a point in time such as 2006-01-02T15:04:05Z"))
}

fn read(text: &str) -> Option<Moment> {
    let (date, rest) = text.split_once('T')?;
    let (time, zone) = rest.split_at(rest.find(['Z', '+', '-'])?);
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let date =
        Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let (time, fraction) = time.split_once('.').map_or((time, None), |(t, f)| (t, Some(f)));
    let nanos = match fraction {
        None => 0,
        Some(digits) if digits.is_empty() || digits.bytes().any(|b| !b.is_ascii_digit()) => {
            return None;
        }
        Some(digits) => {
            let digits: String = digits.chars().chain("000000000".chars()).take(9).collect();
            digits.parse().ok()?
        }
    };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let time =
        Time::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, nanos)
            .ok()?;
    let ahead = if zone == "Z" {
        0
    } else {
        let away = zone.get(1..)?;
        let [hours, minutes] = numbers(away, ':', [2, 2])?;
        let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
        if zone.starts_with('-') { -minutes } else { minutes }
    };
    Some(Moment { local: DateTime::from_parts(date, time), ahead })
}

/// Numbers of so many digits with a sign between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i32; N]> {
    let mut out = [0; N];
    let mut parts = text.split(between);
    for (number, digits) in out.iter_mut().zip(digits) {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| plain)?;
    }
    parts.next().is_none().then_some(out)
}

fn zone(ahead: i32, colon: &str) -> String {
    let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.unsigned_abs());
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

fn time_add(a: &Args<'_>) -> Result<Value, String> {
    let (time, text) = (moment(&a.text(0)?)?, a.text(1)?);
    let (back, length) = text.strip_prefix('-').map_or((false, &*text), |length| (true, length));
    if back && length.starts_with('+') {
        return Err(format!("`{text}` is not a duration"));
    }
    let length = model::parse_duration(length).map_err(|error| error.to_string())?;
    let length = SignedDuration::try_from(length).map_err(|error| error.to_string())?;
    let length = if back { -length } else { length };
    let sum = time.local.checked_add(length);
    let sum = sum.ok().filter(|sum| sum.year() >= 0);
    let sum = sum.ok_or_else(|| "this is outside of the years 0 to 9999".to_owned())?;
    let local = Moment { local: sum, ..time };
    write("YYYY-MM-DD'T'hh:mm:ssZ", &local).map(Value::text)
}

fn format_date(a: &Args<'_>) -> Result<Value, String> {
    let (pattern, time) = (a.text(0)?, moment(&a.text(1)?)?);
    write(&pattern, &time).map(Value::text)
}

fn write(pattern: &str, time: &Moment) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            rest = literal(rest.get(1..).unwrap_or(""), &mut out)?;
        } else if first.is_ascii_alphabetic() {
            let letters = rest.len() - rest.trim_start_matches(first).len();
            let (verb, after) = rest.split_at(letters);
            out.push_str(&part(verb, time)?);
            rest = after;
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or("");
        }
    }
    Ok(out)
}

/// What stands between quotes, and what is behind it. Two quotes are one, inside and outside.
fn literal<'a>(text: &'a str, out: &mut String) -> Result<&'a str, String> {
    if let Some(rest) = text.strip_prefix('\'') {
        out.push('\'');
        return Ok(rest);
    }
    let mut rest = text;
    loop {
        let (inside, after) = rest.split_once('\'').ok_or("a quote `'` is not closed")?;
        out.push_str(inside);
        match after.strip_prefix('\'') {
            Some(more) => {
                out.push('\'');
                rest = more;
            }
            None => return Ok(after),
        }
    }
}

fn part(verb: &str, time: &Moment) -> Result<String, String> {
    let at = time.local;
    let month = usize::try_from(at.month() - 1).ok().and_then(|month| MONTHS.get(month));
    let month = month.copied().unwrap_or_default();
    let day = match at.date().weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    };
    let short = |name: &str| name.chars().take(3).collect();
    let twelve = (at.hour() + 11) % 12 + 1;
    Ok(match verb {
        "YYYY" => format!("{:04}", at.year()),
        "YY" => format!("{:02}", at.year() % 100),
        "M" => at.month().to_string(),
        "MM" => format!("{:02}", at.month()),
        "MMM" => short(month),
        "MMMM" => month.to_owned(),
        "D" => at.day().to_string(),
        "DD" => format!("{:02}", at.day()),
        "EEE" => short(day),
        "EEEE" => day.to_owned(),
        "h" => at.hour().to_string(),
        "hh" => format!("{:02}", at.hour()),
        "H" => twelve.to_string(),
        "HH" => format!("{twelve:02}"),
        "AA" => (if at.hour() < 12 { "AM" } else { "PM" }).to_owned(),
        "aa" => (if at.hour() < 12 { "am" } else { "pm" }).to_owned(),
        "m" => at.minute().to_string(),
        "mm" => format!("{:02}", at.minute()),
        "s" => at.second().to_string(),
        "ss" => format!("{:02}", at.second()),
        "Z" if time.ahead == 0 => "Z".to_owned(),
        "ZZZ" if time.ahead == 0 => "UTC".to_owned(),
        "Z" | "ZZZZZ" => zone(time.ahead, ":"),
        "ZZZ" | "ZZZZ" => zone(time.ahead, ""),
        other => return Err(format!("`{other}` is no part of a date; put plain text in '…'")),
    })
}
