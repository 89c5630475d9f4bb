//! Cron expressions as Nomad reads them: five fields, six with a year behind, seven with a second in front, or a word
//! such as `@daily`. They come out as [`croner`] reads them, which takes seconds first, knows no names in full and no
//! ranges that go round.

use std::collections::BTreeSet;

/// A field: its name, the numbers it takes, names for them, and the longest step.
struct Field {
    name: &'static str,
    least: u16,
    most: u16,
    longest_step: u16,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

impl Field {
    /// The last number; Sunday is 0 and 7.
    fn last(&self) -> u16 {
        if self.most == WEEKDAY.most { 6 } else { self.most }
    }

    fn is_of_clock(&self) -> bool {
        matches!(self.name, "second" | "minute" | "hour")
    }

    /// From one number to another, round the end where the second is the smaller one.
    fn range(&self, from: u16, to: u16, step: u16) -> impl Iterator<Item = u16> {
        let (last, size) = (self.last(), self.last() - self.least + 1);
        let to = if from <= to { to } else { to + size };
        (from..=to).step_by(step.into()).map(move |n| if n > last { n - size } else { n })
    }
}

const fn numbers(name: &'static str, least: u16, most: u16) -> Field {
    Field { name, least, most, longest_step: most, names: &[] }
}

const SECOND: Field = numbers("second", 0, 59);
const MINUTE: Field = numbers("minute", 0, 59);
const HOUR: Field = numbers("hour", 0, 23);
const DAY: Field = numbers("day of the month", 1, 31);
const MONTH: Field = Field { names: &MONTHS, ..numbers("month", 1, 12) };
const WEEKDAY: Field = Field { names: &DAYS, longest_step: 6, ..numbers("day of the week", 0, 7) };
const YEAR: Field = numbers("year", 1970, 2099);

/// Words for whole expressions, in seven fields.
const WORDS: [(&str, &str); 6] = [
    ("@yearly", "0 0 0 1 1 * *"),
    ("@annually", "0 0 0 1 1 * *"),
    ("@monthly", "0 0 0 1 * * *"),
    ("@weekly", "0 0 0 * * 0 *"),
    ("@daily", "0 0 0 * * * *"),
    ("@hourly", "0 0 * * * * *"),
];

/// The expression in seven fields; what is wrong with it otherwise, in words.
pub(crate) fn translate(text: &str) -> Result<String, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if let Some(word) = fields.first().filter(|word| word.starts_with('@')) {
        return match WORDS.iter().find(|(name, _)| name == word) {
            Some((_, whole)) => Ok((*whole).to_owned()),
            None => {
                let names: Vec<&str> = WORDS.iter().map(|(name, _)| *name).collect();
                Err(format!("`{word}` is not one of {}", names.join(", ")))
            }
        };
    }
    let (second, year) = match fields.len() {
        0..5 => {
            return Err(format!(
                "it has {} of the five fields minute, hour, day, month, day of the week",
                fields.len()
            ));
        }
        5 => (Some("0"), Some("*")),
        6 => (Some("0"), None),
        _ => (None, None),
    };
    let rules = [SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR];
    let fields = second.into_iter().chain(fields).chain(year);
    let fields: Vec<String> =
        fields.zip(&rules).map(|(field, rule)| field_of(field, rule)).collect::<Result<_, _>>()?;
    Ok(fields.join(" "))
}

/// What a field asks for.
#[derive(Default)]
struct Wanted {
    any: bool,
    values: BTreeSet<u16>,
    special: Vec<String>,
}

fn field_of(text: &str, field: &Field) -> Result<String, String> {
    let mut parts = text.split(',').filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Err(format!("the {} is empty", field.name));
    }
    let mut wanted = Wanted::default();
    parts.try_for_each(|part| part_of(part, field, &mut wanted))?;
    Ok(if wanted.any {
        "*".to_owned()
    } else if text.starts_with("*/") && !text.contains(',') && field.is_of_clock() {
        // Kept: what runs every so often and what runs at set times differ where a clock is put back.
        text.to_owned()
    } else {
        let values = wanted.values.iter().map(u16::to_string);
        values.chain(wanted.special).collect::<Vec<_>>().join(",")
    })
}

fn part_of(part: &str, field: &Field, wanted: &mut Wanted) -> Result<(), String> {
    let wrong = || {
        let (name, least, most) = (field.name, field.least, field.most);
        let or_name = if field.names.is_empty() { "" } else { " or a name" };
        Err(format!("`{part}` is no {name}, which is {least} to {most}{or_name}"))
    };
    if matches!(part, "?" | "*") {
        wanted.any = true;
        return Ok(());
    }
    if let Some(special) = special(part, field) {
        wanted.special.push(special);
        return Ok(());
    }
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let found = match range.split_once('-') {
        Some((from, to)) => value(from, field).zip(value(to, field)),
        None if range == "*" => Some((field.least, field.last())),
        // One with a step goes on to the end.
        None => value(range, field).map(|at| (at, if step.is_some() { field.last() } else { at })),
    };
    let Some((from, to)) = found else { return wrong() };
    let step = match step.map(|step| (step, number(step))) {
        None => 1,
        Some((_, Some(n))) if (1..=field.longest_step).contains(&n) => n,
        Some((step, Some(_))) => {
            return Err(format!(
                "the step `{step}` in `{part}` must be 1 to {}",
                field.longest_step
            ));
        }
        Some((_, None)) => return wrong(),
    };
    wanted.values.extend(field.range(from, to, step));
    Ok(())
}

/// The last day, the weekday nearest to a day, the last or nth weekday of a month.
fn special(part: &str, field: &Field) -> Option<String> {
    let lower = part.to_ascii_lowercase();
    match field.name {
        "day of the month" => {
            if matches!(lower.as_str(), "l" | "lw") {
                return Some(lower.to_ascii_uppercase());
            }
            let day = value(lower.strip_suffix('w')?, field)?;
            Some(format!("{day}W"))
        }
        "day of the week" => {
            if let Some(day) = lower.strip_suffix('l') {
                return Some(format!("{}#L", value(day, field)? % 7));
            }
            let (day, nth) = lower.split_once('#')?;
            let day = value(day, field)? % 7;
            matches!(nth, "1" | "2" | "3" | "4" | "5").then(|| format!("{day}#{nth}"))
        }
        _ => None,
    }
}

fn value(text: &str, field: &Field) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    let named = |name: &&str| *name == lower || (lower.len() == 3 && name.starts_with(&lower));
    if let Some(at) = field.names.iter().position(named) {
        return Some(field.least + u16::try_from(at).ok()?);
    }
    let digits = if field.most > 99 { 4 } else { 2 };
    number(text).filter(|n| text.len() <= digits && (field.least..=field.most).contains(n))
}

fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::translate;

    /// What Nomad's own parser of these expressions (hashicorp/cronexpr 1.1.3) says.
    #[test]
    fn takes_what_nomad_takes() {
        for good in [
            "* * * * *",
            "*/5 * * * *",
            "0 3 * * 1-5",
            "0 3 * * MON-FRI",
            "0 3 1 January *",
            "0 3 * * sunday",
            "0 3 * * 7",
            "5-1 * * * *",
            "* 22-2 * * *",
            "* * * * fri-mon",
            "5/15 * * * *",
            "1-10/2 * * * *",
            "? ? ? ? ?",
            "* * L * *",
            "* * LW * *",
            "* * 15W * *",
            "* * * * 5L",
            "* * * * fridayL",
            "* * * * fri#2",
            "0 0 * * * 2026",
            "0 0 0 * * * *",
            "@daily",
            " @hourly ",
            "@hourly extra",
            "1,2,,3 * * * *",
            "1, * * * *",
            ",1 * * * *",
            "*,5 * * * *",
            "0 0 * * 0-7",
            "0 0 * * mon-fri/2",
            "*/59 * * * *",
            "0 0 1,L * *",
            "0 0 * * * 1970-2099/2",
            "0 0 * */12 *",
            "0 0 * * */6",
            "00 00 01 01 00",
            "0 0 30 2 *",
        ] {
            assert_eq!(translate(good).err(), None, "{good}");
        }
        for bad in [
            "",
            "0 3 * * 8",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "*/0 * * * *",
            "*/60 * * * *",
            "0 */24 * * *",
            "0 0 * * */7",
            "* * W * *",
            "* * * * L",
            "* * * * 5#6",
            "* * * * 5#0",
            "0 0 * * * 1969",
            "0 0 * * * 2100",
            "@midnight",
            "@reboot",
            "@every 5m",
            "@DAILY",
            "0 3 * *",
            "x * * * *",
            "1-5-7 * * * *",
            "-5 * * * *",
            "05 003 * * *",
            "0 0 L-3 * *",
            "0 0 32W * *",
            "*/5/5 * * * *",
            "* * * * *; ls",
            "0 0 ?/2 * *",
            "0 0 * Sept *",
            "0 0 * * Tues",
            "0 0 1/32 * *",
            ", * * * *",
            "60 0 0 * * * *",
        ] {
            assert!(translate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn says_which_field_is_wrong() {
        let said = translate("0 25 * * *").expect_err("no such hour");
        assert_eq!(said, "`25` is no hour, which is 0 to 23");
        let said = translate("0 3 * *").expect_err("too short");
        assert!(said.starts_with("it has 4 of the five fields"), "{said}");
    }

    #[test]
    fn says_the_same_in_seven_fields() {
        for (text, same) in [
            ("*/5 * * * *", "0 */5 * * * * *"),
            ("0 3 * * MON-FRI", "0 0 3 * * 1,2,3,4,5 *"),
            ("0 3 1 January *", "0 0 3 1 1 * *"),
            ("0 3 * * 0-7", "0 0 3 * * 0,1,2,3,4,5,6 *"),
            ("5 22-2 * * fri-7", "0 5 22,23,0,1,2 * * 0,5,6 *"),
            ("50/4 1,L * * fridayL", ""),
            ("50/4 1 15W,L * fri#2", "0 50,54,58 1 15W,L * 5#2 *"),
            ("? ? ? ? fridayL", "0 * * * * 5#L *"),
            ("0 0 */10 * * 2026", "0 0 0 1,11,21,31 * * 2026"),
            ("0 0 * * * * *", "0 0 * * * * *"),
            ("@weekly", "0 0 0 * * 0 *"),
        ] {
            assert_eq!(translate(text).unwrap_or_default(), sorted(same), "{text}");
        }
    }

    /// Numbers come sorted.
    fn sorted(text: &str) -> String {
        text.replace("22,23,0,1,2", "0,1,2,22,23")
    }
}
