//! Whether a text is a cron expression as Nomad reads it: five fields, six with a year behind, seven with a second in
//! front, or a word such as `@daily`.

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

const WORDS: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// Checks an expression; what is wrong with it otherwise, in words.
pub(super) fn check(text: &str) -> Result<(), String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if let Some(word) = fields.first().filter(|word| word.starts_with('@')) {
        return if WORDS.contains(word) {
            Ok(())
        } else {
            Err(format!("`{word}` is not one of {}", WORDS.join(", ")))
        };
    }
    let rules: &[Field] = match fields.len() {
        0..5 => {
            return Err(format!(
                "it has {} of the five fields minute, hour, day, month, day of the week",
                fields.len()
            ));
        }
        5 | 6 => &[MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR],
        _ => &[SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, YEAR],
    };
    fields.iter().zip(rules).try_for_each(|(field, rule)| field_of(field, rule))
}

fn field_of(text: &str, field: &Field) -> Result<(), String> {
    let mut parts = text.split(',').filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Err(format!("the {} is empty", field.name));
    }
    parts.try_for_each(|part| part_of(part, field))
}

fn part_of(part: &str, field: &Field) -> Result<(), String> {
    let wrong = || {
        let (name, least, most) = (field.name, field.least, field.most);
        let or_name = if field.names.is_empty() { "" } else { " or a name" };
        Err(format!("`{part}` is no {name}, which is {least} to {most}{or_name}"))
    };
    if part == "?" || special(part, field) {
        return Ok(());
    }
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let fits = match range.split_once('-') {
        Some((from, to)) => value(from, field).is_some() && value(to, field).is_some(),
        None => range == "*" || value(range, field).is_some(),
    };
    if !fits {
        return wrong();
    }
    match step.map(|step| (step, number(step))) {
        None => Ok(()),
        Some((_, Some(n))) if (1..=field.longest_step).contains(&n) => Ok(()),
        Some((step, Some(_))) => {
            Err(format!("the step `{step}` in `{part}` must be 1 to {}", field.longest_step))
        }
        Some((_, None)) => wrong(),
    }
}

/// The last day, the weekday nearest to a day, the last or nth weekday of a month.
fn special(part: &str, field: &Field) -> bool {
    let lower = part.to_ascii_lowercase();
    match field.name {
        "day of the month" => {
            matches!(lower.as_str(), "l" | "lw")
                || lower.strip_suffix('w').is_some_and(|day| value(day, field).is_some())
        }
        "day of the week" => {
            lower.strip_suffix('l').is_some_and(|day| value(day, field).is_some())
                || lower.split_once('#').is_some_and(|(day, nth)| {
                    value(day, field).is_some() && matches!(nth, "1" | "2" | "3" | "4" | "5")
                })
        }
        _ => false,
    }
}

fn value(text: &str, field: &Field) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    let named = |name: &&str| *name == lower || (lower.len() == 3 && name.starts_with(&lower));
    if let Some(at) = field.names.iter().position(named) {
        return u16::try_from(at).ok();
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
    use super::check;

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
            assert_eq!(check(good), Ok(()), "{good}");
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
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn says_which_field_is_wrong() {
        let said = check("0 25 * * *").expect_err("no such hour");
        assert_eq!(said, "`25` is no hour, which is 0 to 23");
        let said = check("0 3 * *").expect_err("too short");
        assert!(said.starts_with("it has 4 of the five fields"), "{said}");
    }
}
