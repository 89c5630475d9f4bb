//! What was found, for people, editors and GitHub.

use std::collections::{BTreeMap, BTreeSet};

use model::{Diagnostic, Severity};

use super::report::{Found, Report};
use crate::output::{BOLD, GREEN, RED, YELLOW, styled};

/// So many errors are shown whole; the others are counted.
const ERRORS: usize = 50;
/// So many warnings are shown whole; more are folded, because nobody reads them.
const WARNINGS: usize = 10;

/// For people: errors first, then warnings, then what it comes to.
pub(super) fn text(report: &Report, verbose: bool) {
    let is_error = |found: &&Found| found.diagnostic.is_error();
    let (errors, warnings): (Vec<&Found>, Vec<&Found>) = report.found.iter().partition(is_error);
    let limit = |limit| if verbose { usize::MAX } else { limit };
    for found in errors.iter().take(limit(ERRORS)) {
        anstream::println!("{}\n", whole(report, found));
    }
    if errors.len() > limit(ERRORS) {
        for line in folded(errors.iter().skip(ERRORS).copied()) {
            anstream::println!("{}: {line}", styled(RED, "more errors"));
        }
        anstream::println!();
    }
    if warnings.len() <= limit(WARNINGS) {
        for found in &warnings {
            anstream::println!("{}\n", whole(report, found));
        }
    } else {
        for line in folded(warnings.iter().copied()) {
            anstream::println!("{}: {line}", styled(YELLOW, "warning"));
        }
        anstream::println!("  (-verbose shows all of them)\n");
    }
    anstream::eprintln!("{}", summary(report));
    if let Some(first) = report.found.first() {
        let code = &first.diagnostic.code;
        anstream::eprintln!("what a code means: herder validate -explain {code}");
    }
    if !report.environments.is_empty()
        && report.found.iter().any(|found| found.diagnostic.code == "missing-variable")
    {
        let names: Vec<&str> = report.environments.iter().map(String::as_str).collect();
        anstream::eprintln!(
            "there are vars files for {}, none of which was chosen: add -env {}",
            names.join(", "),
            names.first().unwrap_or(&"NAME")
        );
    }
}

fn whole(report: &Report, found: &Found) -> String {
    let diagnostic = Diagnostic { path: found.shown.clone(), ..found.diagnostic.clone() };
    let mut text = jobfile::render(&diagnostic, report.text(found).as_deref(), true);
    if !found.also_in.is_empty() {
        let first: Vec<&str> = found.also_in.iter().take(3).map(String::as_str).collect();
        let more = match found.also_in.len() - first.len() {
            0 => String::new(),
            more => format!(" and {} more", number(more)),
        };
        let named = first.join(", ");
        text = format!("{text}\n  it concerns {named}{more}");
    }
    text
}

/// One line for each code, the most frequent first.
fn folded<'a>(found: impl Iterator<Item = &'a Found>) -> Vec<String> {
    let mut codes: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
    for found in found {
        codes.entry(&found.diagnostic.code).or_default().push(found);
    }
    let mut codes: Vec<(&str, Vec<&Found>)> = codes.into_iter().collect();
    codes.sort_by_key(|(_, found)| std::cmp::Reverse(found.len()));
    codes
        .into_iter()
        .map(|(code, found)| {
            let files: BTreeSet<&str> = found.iter().map(|found| found.shown.as_str()).collect();
            let first = found.first().map(|found| place_and_message(found)).unwrap_or_default();
            let (times, files) = (number(found.len()), count(files.len(), "file"));
            format!("{times} × {code} in {files}, first {first}")
        })
        .collect()
}

fn place_and_message(found: &Found) -> String {
    let of = &found.diagnostic;
    let place = match (of.line, of.column) {
        (0, _) => String::new(),
        (line, 0) => format!(":{line}"),
        (line, column) => format!(":{line}:{column}"),
    };
    format!("{}{place}: {}", found.shown, of.message)
}

/// One line for all.
fn summary(report: &Report) -> String {
    let (errors, warnings) = (report.errors(), report.warnings());
    if report.files == 1 || errors + warnings == 0 {
        let verdict = match (errors, warnings) {
            (0, 0) => styled(GREEN, "no problems"),
            (0, _) => styled(YELLOW, count(warnings, "warning")),
            (_, 0) => styled(RED, count(errors, "error")),
            _ => styled(RED, format!("{}, {}", count(errors, "error"), count(warnings, "warning"))),
        };
        let of = format!("{} in {}", count(report.jobs, "job"), count(report.files, "file"));
        return format!("{}: {of}", styled(BOLD, verdict));
    }
    let part = |severity, style, what: &str| match report.files_with(severity) {
        0 => String::new(),
        files => format!(", {}", styled(style, format!("{} with {what}s", number(files)))),
    };
    let first = report.found.first().filter(|found| found.diagnostic.is_error());
    let first = first.map(|found| format!("; first: {}", place_and_message(found)));
    format!(
        "{}{}{}{}",
        styled(BOLD, count(report.files, "file")),
        part(Severity::Error, RED, "error"),
        part(Severity::Warning, YELLOW, "warning"),
        first.unwrap_or_default()
    )
}

/// One finding in a line, or as a few.
pub(super) fn lines(report: &Report, line: fn(&Report, &Found) -> String) {
    for found in &report.found {
        anstream::println!("{}", line(report, found));
    }
}

/// `path:line:column: error: message [code]`, as compilers write it and editors read it.
pub(super) fn short(_: &Report, found: &Found) -> String {
    let of = &found.diagnostic;
    let (line, column) = (of.line.max(1), of.column.max(1));
    let message = of.message.replace('\n', " ");
    format!("{}:{line}:{column}: {}: {message} [{}]", found.shown, severity(of), of.code)
}

/// A command to GitHub's runner, which shows it beside the line. Paths are from the root of the repository.
pub(super) fn github(report: &Report, found: &Found) -> String {
    let of = &found.diagnostic;
    let value = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
    let end = report.text(found).zip(of.span).and_then(|(text, span)| end(&text, span));
    let (line, column) = (of.line, of.column);
    let place = match (line, column, end) {
        (0, _, _) => String::new(),
        // Columns count within one line only.
        (_, 1.., Some((to, end))) if to == line => {
            format!(",line={line},endLine={line},col={column},endColumn={end}")
        }
        (_, _, Some((to, _))) => format!(",line={line},endLine={to}"),
        (_, 1.., None) => format!(",line={line},col={column}"),
        (_, 0, None) => format!(",line={line}"),
    };
    let place = format!("file={}{place}", value(&of.path));
    let message = match of.help.as_str() {
        "" => of.message.clone(),
        help => format!("{}\n{help}", of.message),
    };
    let title = value(&of.code);
    format!("::{} {place},title={title}::{}", severity(of), escaped(&message))
}

const fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Line and column of the end of a span.
fn end(text: &str, (start, end): (usize, usize)) -> Option<(u32, u32)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let before = text.get(..end.max(start))?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}

fn count(of: usize, word: &str) -> String {
    format!("{} {word}{}", number(of), if of == 1 { "" } else { "s" })
}

/// A number with a comma between thousands.
pub(super) fn number(of: usize) -> String {
    let digits = of.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jobfile::Parsed;

    use super::*;

    fn diagnostic(severity: Severity, path: &str, line: u32) -> Diagnostic {
        Diagnostic {
            severity,
            code: "a-code".into(),
            path: path.into(),
            line,
            column: u32::from(line > 0) * 3,
            span: (line > 0).then_some((2, 6)),
            message: "50% of it, or: nothing".into(),
            help: "do\nit".into(),
            ..Diagnostic::default()
        }
    }

    fn report(files: &[(&str, Vec<Diagnostic>)]) -> Report {
        let mut report = Report::new().expect("is somewhere");
        report.enter(Path::new("/repository"));
        for (path, diagnostics) in files {
            let parsed = Parsed { diagnostics: diagnostics.clone(), ..Parsed::default() };
            report.add(path, b"x {}\ny\n".to_vec(), parsed);
        }
        report.settle();
        report
    }

    fn plain(text: &str) -> String {
        console::strip_ansi_codes(text).into_owned()
    }

    #[test]
    fn each_finding_is_one_line_for_editors_and_for_github() {
        let errors = vec![
            diagnostic(Severity::Error, "a,b.hcl", 1),
            diagnostic(Severity::Warning, "a,b.hcl", 0),
        ];
        let report = report(&[("a,b.hcl", errors)]);
        let [error, warning] = report.found.as_slice() else { panic!("{:?}", report.found) };
        assert_eq!(
            short(&report, error),
            "/repository/a,b.hcl:1:3: error: 50% of it, or: nothing [a-code]"
        );
        assert_eq!(
            short(&report, warning),
            "/repository/a,b.hcl:1:1: warning: 50% of it, or: nothing [a-code]"
        );
        assert_eq!(
            github(&report, error),
            "::error file=a%2Cb.hcl,line=1,endLine=2,title=a-code::50%25 of it, or: nothing%0Ado%0Ait"
        );
        assert_eq!(
            github(&report, warning),
            "::warning file=a%2Cb.hcl,title=a-code::50%25 of it, or: nothing%0Ado%0Ait"
        );
    }

    #[test]
    fn what_matters_comes_first_and_what_is_frequent_in_one_line() {
        let warnings: Vec<Diagnostic> =
            (1..12).map(|line| diagnostic(Severity::Warning, "b.hcl", line)).collect();
        let shared = || diagnostic(Severity::Error, "all.vars.hcl", 2);
        let report = report(&[
            ("b.hcl", warnings),
            ("c.hcl", vec![shared()]),
            ("d.hcl", vec![shared()]),
            ("e.hcl", Vec::new()),
        ]);
        assert_eq!((report.errors(), report.warnings()), (1, 11));
        let first = &report.found[0];
        assert_eq!((first.diagnostic.path.as_str(), first.also_in.len()), ("all.vars.hcl", 2));
        assert!(plain(&whole(&report, first)).ends_with("it concerns c.hcl, d.hcl"));
        assert_eq!(
            folded(report.found.iter().skip(1)),
            ["11 × a-code in 1 file, first /repository/b.hcl:1:3: 50% of it, or: nothing"]
        );
        assert_eq!(
            plain(&summary(&report)),
            "4 files, 1 with errors, 1 with warnings; first: /repository/all.vars.hcl:2:3: 50% of it, or: nothing"
        );
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(
            ["7", "999", "1,000", "1,234,567"].map(str::to_owned),
            [7, 999, 1_000, 1_234_567].map(number)
        );
        assert_eq!(
            (count(1, "file"), count(2, "file")),
            ("1 file".to_owned(), "2 files".to_owned())
        );
    }
}
