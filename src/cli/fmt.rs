//! `herder fmt`: HCL files in the canonical style, with their comments.

mod changes;
mod files;

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgAction, Args};
use jobfile::{FormatError, Source};
use model::Diagnostic;
use serde::Serialize;

use crate::failure::{Failure, print_error};
use crate::fmt::files::Found;
use crate::output::{self, BOLD, CYAN, GREEN, RED, styled};

/// The name of standard input in what is printed.
const STDIN: &str = "stdin";

/// Flags of `herder fmt`.
#[derive(Args, Debug)]
pub struct FmtArguments {
    /// HCL files, or folders with `*.nomad` and `*.hcl` in them; `-` formats standard input to standard output
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Write nothing; end with 1 if a file is not formatted
    #[arg(long)]
    check: bool,
    /// Show what changes, as a unified diff
    #[arg(long)]
    diff: bool,
    /// Print the names of files that are not formatted
    #[arg(long, default_value_t = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = ArgAction::Set)]
    list: bool,
    /// Write what is formatted back into the files
    #[arg(long, default_value_t = true, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", action = ArgAction::Set)]
    write: bool,
    /// Also format what is in folders within folders
    #[arg(long)]
    recursive: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of one file.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    path: String,
    /// Whether the file is not, or was not, in the canonical style.
    changed: bool,
    written: bool,
    /// The change, where it was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    diff: String,
    /// The formatted text of standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    formatted: Option<String>,
    /// Why the file was left alone though nothing is wrong with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    skipped: String,
    /// What is wrong in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diagnostics: Vec<Diagnostic>,
    /// Why the file could not be read or written.
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    #[serde(skip)]
    text: String,
}

pub(crate) fn run(arguments: &FmtArguments) -> Result<ExitCode, Failure> {
    let outcomes = format_all(arguments, &mut std::io::stdin())
        .map_err(|error| Failure::from(error).with_code(255))?;
    if arguments.json {
        output::json(&outcomes)?;
    } else {
        for outcome in &outcomes {
            show(outcome, arguments)?;
        }
        if outcomes.is_empty() {
            let hint = if arguments.recursive { "" } else { "; -recursive looks into folders" };
            anstream::eprintln!("there are no HCL files here{hint}");
        }
    }
    Ok(ExitCode::from(code(&outcomes, arguments.check)))
}

/// 255 where a file could not be read or written, 1 where one is not valid or a check failed.
fn code(outcomes: &[Outcome], check: bool) -> u8 {
    if outcomes.iter().any(|outcome| !outcome.error.is_empty()) {
        return 255;
    }
    let fails = |outcome: &Outcome| !outcome.diagnostics.is_empty() || (check && outcome.changed);
    u8::from(outcomes.iter().any(fails))
}

/// Finds all files before the first is touched: a path that does not exist stops the whole command.
fn format_all(arguments: &FmtArguments, stdin: &mut dyn Read) -> anyhow::Result<Vec<Outcome>> {
    let mut found: Vec<Found> = Vec::new();
    for path in &arguments.paths {
        for file in files::find(path, arguments.recursive)? {
            if !found.iter().any(|other| other.path == file.path) {
                found.push(file);
            }
        }
    }
    Ok(found.iter().filter_map(|file| format_one(file, arguments, stdin)).collect())
}

/// Nothing, where a folder has a file that only looks like HCL by its name.
fn format_one(file: &Found, arguments: &FmtArguments, stdin: &mut dyn Read) -> Option<Outcome> {
    let is_stdin = file.path == Path::new("-");
    let path = if is_stdin { STDIN.to_owned() } else { file.path.display().to_string() };
    let mut outcome = Outcome { path, ..Outcome::default() };
    let bytes = if is_stdin { files::read_all(stdin) } else { files::read(&file.path) };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => return Some(Outcome { error: format!("{error:#}"), ..outcome }),
    };
    outcome.text = String::from_utf8_lossy(&bytes).into_owned();
    let formatted = match jobfile::format(Source { path: &outcome.path, bytes: &bytes }) {
        Ok(formatted) => formatted,
        Err(FormatError::NotHcl(_)) if !file.is_named => return None,
        Err(error @ FormatError::NotHcl(_)) => {
            return Some(Outcome { skipped: error.to_string(), ..outcome });
        }
        Err(FormatError::Invalid(diagnostics)) => return Some(Outcome { diagnostics, ..outcome }),
    };
    outcome.changed = formatted.as_bytes() != bytes;
    if arguments.diff && outcome.changed {
        outcome.diff = changes::unified(&outcome.path, &outcome.text, &formatted);
    }
    if is_stdin {
        outcome.formatted = Some(formatted);
    } else if outcome.changed && arguments.write && !arguments.check {
        match files::replace(&file.path, &formatted) {
            Ok(()) => outcome.written = true,
            Err(error) => outcome.error = format!("{error:#}"),
        }
    }
    Some(outcome)
}

fn show(outcome: &Outcome, arguments: &FmtArguments) -> Result<(), Failure> {
    let path = &outcome.path;
    if !outcome.error.is_empty() {
        print_error(&anyhow::anyhow!("{}", outcome.error));
    }
    if !outcome.skipped.is_empty() {
        anstream::eprintln!("{path}: {}", outcome.skipped);
    }
    for diagnostic in &outcome.diagnostics {
        anstream::eprintln!("{}\n", jobfile::render(diagnostic, Some(&outcome.text), true));
    }
    match &outcome.formatted {
        Some(formatted) if !arguments.diff && !arguments.check => {
            // The text as it is: colours in it would be its own.
            let mut out = std::io::stdout().lock();
            out.write_all(formatted.as_bytes())
                .and_then(|()| out.flush())
                .context("writing to standard output")?;
        }
        None if outcome.changed && arguments.list => anstream::println!("{path}"),
        _ => {}
    }
    for line in outcome.diff.split_terminator('\n') {
        let style = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => BOLD,
            [b'+', ..] => GREEN,
            [b'-', ..] => RED,
            [b'@', ..] => CYAN,
            _ => anstyle::Style::new(),
        };
        anstream::println!("{}", styled(style, line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use clap::Parser;

    use super::*;

    const UGLY: &str = "a=1\nb {\nlonger = 2 # c\n}\n";
    const NEAT: &str = "a = 1\nb {\n  longer = 2 # c\n}\n";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: FmtArguments,
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("is in a folder")).expect("makes folders");
            fs::write(path, text).expect("writes");
        }
        folder
    }

    /// Runs as from the command line, on paths within a folder. Names in the answer are those within it.
    fn fmt(folder: &tempfile::TempDir, line: &[&str], stdin: &str) -> (u8, Vec<Outcome>) {
        let given = line.iter().map(|word| match word.strip_prefix("./") {
            Some(path) => folder.path().join(path).display().to_string(),
            None => (*word).to_owned(),
        });
        let words = std::iter::once("fmt".to_owned()).chain(given).map(std::ffi::OsString::from);
        let arguments = Line::parse_from(crate::normalised_arguments(words)).arguments;
        let mut outcomes = format_all(&arguments, &mut stdin.as_bytes()).expect("finds files");
        let code = code(&outcomes, arguments.check);
        let prefix = format!("{}/", folder.path().display());
        for outcome in &mut outcomes {
            show(outcome, &arguments).expect("is shown");
            outcome.path = outcome.path.replace(&prefix, "");
        }
        (code, outcomes)
    }

    fn names(outcomes: &[Outcome], that: impl Fn(&Outcome) -> bool) -> Vec<&str> {
        outcomes
            .iter()
            .filter(|outcome| that(outcome))
            .map(|outcome| outcome.path.as_str())
            .collect()
    }

    fn text(folder: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).expect("reads")
    }

    #[test]
    fn a_folder_is_formatted_and_what_is_below_only_when_asked() {
        let all = [
            "a.nomad",
            "b.hcl",
            "c.vars.hcl",
            "below/d.nomad.hcl",
            "below/.hidden/e.hcl",
            ".f.hcl",
        ];
        let mut files: Vec<_> = all.iter().map(|name| (*name, UGLY)).collect();
        files.extend([
            ("neat.hcl", NEAT),
            ("g.yaml", "job:\n  x:   1\n"),
            ("h.txt", UGLY),
            ("i.nomad", "{\"job\": 1}"),
        ]);
        let folder = folder(&files);
        let (code, outcomes) = fmt(&folder, &["./"], "");
        assert_eq!(code, 0);
        assert_eq!(names(&outcomes, |_| true), ["a.nomad", "b.hcl", "c.vars.hcl", "neat.hcl"]);
        assert_eq!(names(&outcomes, |outcome| outcome.written), ["a.nomad", "b.hcl", "c.vars.hcl"]);
        assert_eq!(text(&folder, "a.nomad"), NEAT);
        assert_eq!(text(&folder, "below/d.nomad.hcl"), UGLY);
        let (_, outcomes) = fmt(&folder, &["-recursive", "./"], "");
        assert_eq!(names(&outcomes, |outcome| outcome.changed), ["below/d.nomad.hcl"]);
        for untouched in ["below/.hidden/e.hcl", ".f.hcl", "h.txt"] {
            assert_eq!(text(&folder, untouched), UGLY, "{untouched}");
        }
        assert_eq!(
            fs::read_dir(folder.path()).expect("is a folder").count(),
            9,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_check_fails_and_writes_nothing() {
        let folder = folder(&[("a.hcl", UGLY), ("b.hcl", NEAT)]);
        let (code, outcomes) = fmt(&folder, &["-check", "./"], "");
        assert_eq!((code, names(&outcomes, |outcome| outcome.changed)), (1, vec!["a.hcl"]));
        assert_eq!(text(&folder, "a.hcl"), UGLY);
        assert_eq!(fmt(&folder, &["-check", "./b.hcl"], "").0, 0);
        let (code, outcomes) = fmt(&folder, &["-write=false", "-list=false", "./"], "");
        assert_eq!((code, names(&outcomes, |outcome| outcome.written)), (0, vec![]));
        assert_eq!(text(&folder, "a.hcl"), UGLY);
    }

    #[test]
    fn standard_input_goes_to_standard_output() {
        let folder = folder(&[]);
        let (code, outcomes) = fmt(&folder, &["-"], UGLY);
        assert_eq!((code, outcomes[0].formatted.as_deref()), (0, Some(NEAT)));
        assert_eq!(fmt(&folder, &["-check", "-"], UGLY).0, 1);
        assert_eq!(fmt(&folder, &["-check", "-"], NEAT).0, 0);
        let (code, outcomes) = fmt(&folder, &["-"], "a = \n");
        assert_eq!((code, outcomes[0].diagnostics[0].path.as_str()), (1, STDIN));
    }

    #[test]
    fn a_broken_file_stays_and_the_others_are_formatted() {
        let broken = "a=1\nb {\n";
        let folder = folder(&[("a.hcl", broken), ("b.hcl", UGLY)]);
        let (code, outcomes) = fmt(&folder, &["./"], "");
        assert_eq!(code, 1);
        assert_eq!(outcomes[0].diagnostics[0].code, "syntax");
        assert_eq!(
            (text(&folder, "a.hcl").as_str(), text(&folder, "b.hcl").as_str()),
            (broken, NEAT)
        );
    }

    #[test]
    fn other_languages_are_named_only_where_they_were_asked_for() {
        let folder = folder(&[("a.yaml", "job:   {}\n"), ("b.nomad", "{\"job\":   {}}")]);
        let (code, outcomes) = fmt(&folder, &["./a.yaml", "./b.nomad"], "");
        assert_eq!(code, 0);
        assert!(outcomes[0].skipped.contains("YAML") && outcomes[1].skipped.contains("JSON"));
        assert_eq!(fmt(&folder, &["./"], "").1, []);
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let folder = folder(&[("real/a.txt", UGLY)]);
        symlink("real/a.txt", folder.path().join("link.hcl")).expect("links");
        assert_eq!(fmt(&folder, &["-recursive", "./"], "").1, []);
        let (code, outcomes) = fmt(&folder, &["./link.hcl"], "");
        assert_eq!(code, 255);
        assert!(outcomes[0].error.contains("symbolic link"), "{}", outcomes[0].error);
        assert_eq!(text(&folder, "real/a.txt"), UGLY);
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_read_only_one_its_text() {
        let folder = folder(&[("a.hcl", UGLY), ("b.hcl", UGLY)]);
        let mode = |name: &str, mode| {
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode))
                .expect("sets");
        };
        mode("a.hcl", 0o640);
        mode("b.hcl", 0o444);
        let (code, outcomes) = fmt(&folder, &["./"], "");
        assert_eq!((code, names(&outcomes, |outcome| outcome.written)), (255, vec!["a.hcl"]));
        let data = fs::metadata(folder.path().join("a.hcl")).expect("is there");
        assert_eq!(data.permissions().mode() & 0o777, 0o640);
        assert!(outcomes[1].error.contains("read-only"), "{}", outcomes[1].error);
        assert_eq!(text(&folder, "b.hcl"), UGLY);
    }

    #[test]
    fn a_path_that_is_not_there_stops_all() {
        let folder = folder(&[("a.hcl", UGLY)]);
        let paths = [folder.path().to_owned(), folder.path().join("none.hcl")];
        let line = ["fmt".into()].into_iter().chain(paths);
        let arguments = Line::parse_from(line.map(PathBuf::into_os_string)).arguments;
        format_all(&arguments, &mut std::io::empty()).expect_err("there is no such file");
        assert_eq!(text(&folder, "a.hcl"), UGLY);
    }

    #[test]
    fn a_diff_shows_the_change() {
        let folder = folder(&[("a.hcl", UGLY)]);
        let (_, outcomes) = fmt(&folder, &["-diff", "-check", "-json", "./a.hcl"], "");
        let lines: Vec<_> = outcomes[0].diff.lines().skip(2).collect();
        let expected = [
            "@@ -1,4 +1,4 @@",
            "-a=1",
            "+a = 1",
            " b {",
            "-longer = 2 # c",
            "+  longer = 2 # c",
            " }",
        ];
        assert_eq!(lines, expected);
    }
}
