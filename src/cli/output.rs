//! Tables, key-value lists, times and colours.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use console::{Term, measure_text_width};
use model::{
    CheckStatus, ClientStatus, DeploymentStatus, RevisionOutcome, Timestamp, format_duration,
};
use serde::Serialize;

pub(crate) const GREEN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
pub(crate) const RED: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
pub(crate) const YELLOW: Style =
    Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
pub(crate) const CYAN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));
pub(crate) const BOLD: Style = Style::new().bold();

/// A column is never made narrower than this.
const NARROWEST: usize = 6;

/// Prints a value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> serde_json::Result<()> {
    anstream::println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints a text as it is: colours in it would be its own.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("writing to standard output")
}

/// Text in a style; plain where the output is not a terminal.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A heading above a table.
pub(crate) fn heading(text: &str) {
    anstream::println!("\n{}", styled(BOLD, text));
}

/// Prints columns with two spaces between them. On a terminal, cells are shortened until a row fits its width, the
/// widest column first; elsewhere they are whole.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    for line in table_lines(header, rows, width().unwrap_or(usize::MAX)) {
        anstream::println!("{line}");
    }
}

/// Columns of the terminal; `None` where the output is none.
pub(crate) fn width() -> Option<usize> {
    let terminal = Term::stdout();
    terminal.is_term().then(|| usize::from(terminal.size().1).max(40))
}

/// The lines of a table that is at most `limit` wide.
pub(crate) fn table_lines(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    limit: usize,
) -> Vec<String> {
    let header = header.iter().map(|cell| styled(BOLD, cell)).collect();
    let mut rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    fitted(&mut rows, limit)
}

fn fitted(rows: &mut [Vec<String>], limit: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| measure_text_width(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let gaps = 2 * columns.saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > limit {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else {
            break;
        };
        *widest -= 1;
    }
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| {
                let cell = console::truncate_str(cell, *width, "…");
                let blank = width.saturating_sub(measure_text_width(&cell));
                format!("{cell}{:blank$}", "")
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Prints `key = value` lines, aligned.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) {
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in pairs {
        anstream::println!("{key:width$} = {value}");
    }
}

/// A number of bytes in the largest unit that leaves a whole part.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" || value.fract() < 0.05 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Now, for "3m ago". Nothing but print depends on it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A time as a date with its zone; empty for "never".
pub(crate) fn date(at: Timestamp) -> String {
    if at.is_zero() {
        return String::new();
    }
    jiff::Timestamp::from_nanosecond(i128::from(at.0))
        .map(|at| {
            at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        })
        .unwrap_or_default()
}

/// How long ago, in the largest two units; empty for "never".
/// When a periodic job starts next.
pub(crate) fn launch(at: Timestamp) -> String {
    format!("{} ({} from now)", date(at), span(at.since(now())))
}

pub(crate) fn ago(at: Timestamp) -> String {
    if at.is_zero() { String::new() } else { format!("{} ago", span(now().since(at))) }
}

/// A span in at most two units.
pub(crate) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format_duration(span).to_string(),
        1..3600 => format_duration(Duration::from_secs(secs)).to_string(),
        3600..86_400 => format!("{}h{}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d{}h", secs / 86_400, secs / 3600 % 24),
    }
}

pub(crate) fn client_status(status: ClientStatus) -> String {
    let style = match status {
        ClientStatus::Running => GREEN,
        ClientStatus::Failed | ClientStatus::Lost => RED,
        ClientStatus::Pending | ClientStatus::Unknown => YELLOW,
        ClientStatus::Complete => Style::new(),
    };
    styled(style, status.as_str())
}

pub(crate) fn deployment_status(status: DeploymentStatus) -> String {
    let style = match status {
        DeploymentStatus::Successful => GREEN,
        DeploymentStatus::Failed => RED,
        DeploymentStatus::Running | DeploymentStatus::Paused => CYAN,
        DeploymentStatus::Cancelled => Style::new(),
    };
    styled(style, status.as_str())
}

pub(crate) fn outcome(outcome: RevisionOutcome) -> String {
    let style = match outcome {
        RevisionOutcome::Deployed => GREEN,
        RevisionOutcome::Failed => RED,
        RevisionOutcome::Reverted => YELLOW,
        RevisionOutcome::Deploying => CYAN,
        RevisionOutcome::Unchanged | RevisionOutcome::Superseded => Style::new(),
    };
    styled(style, outcome.as_str())
}

pub(crate) fn check_status(status: &str) -> String {
    let style = match status {
        status if status == CheckStatus::Passing.as_str() => GREEN,
        status if status == CheckStatus::Warning.as_str() => YELLOW,
        _ => RED,
    };
    styled(style, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let mut rows = [
            row(&["ID", "Status"]),
            vec!["a".to_owned(), styled(GREEN, "running")],
            row(&["bcd", "x"]),
        ];
        let lines: Vec<_> = fitted(&mut rows, 80)
            .iter()
            .map(|line| console::strip_ansi_codes(line).into_owned())
            .collect();
        assert_eq!(lines, ["ID   Status", "a    running", "bcd  x"]);
    }

    #[test]
    fn a_row_fits_the_terminal() {
        let mut rows = [row(&["name", &"long ".repeat(40)]), row(&["other", "short"])];
        for line in fitted(&mut rows, 40) {
            assert!(measure_text_width(&line) <= 40, "{line}");
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (secs, text) in [(5, "5s"), (65, "1m5s"), (3_700, "1h1m"), (90_000, "1d1h")] {
            assert_eq!(span(Duration::from_secs(secs)), text);
        }
    }
}
