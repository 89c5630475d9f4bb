//! Long options with one dash, as Nomad writes them, mean the same as with two.

use std::ffi::OsString;

/// Turns `-job-name=x` into `--job-name=x`. Short options (`-f`, `-n20`) and all that follows `--` stay as they are.
pub fn normalised_arguments(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut over = false;
    arguments
        .into_iter()
        .enumerate()
        .map(|(position, argument)| {
            over |= argument == "--";
            match argument.to_str() {
                Some(text) if position > 0 && !over && is_long_with_one_dash(text) => {
                    OsString::from(format!("-{text}"))
                }
                _ => argument,
            }
        })
        .collect()
}

fn is_long_with_one_dash(text: &str) -> bool {
    let Some(name) = text.strip_prefix('-') else { return false };
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    // A digit may come later, as in `-hcl2-strict`; `-n20` is a short option with its value.
    let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().nth(1).is_some_and(is_word)
        && name.chars().all(|c| is_word(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_as_good_as_two() {
        let given = [
            "herder",
            "job",
            "status",
            "-json",
            "-n20",
            "-f",
            "--address=-x",
            "-rev=HEAD~1",
            "-hcl2-strict=false",
            "--",
            "-raw",
        ];
        let normal = [
            "herder",
            "job",
            "status",
            "--json",
            "-n20",
            "-f",
            "--address=-x",
            "--rev=HEAD~1",
            "--hcl2-strict=false",
            "--",
            "-raw",
        ];
        assert_eq!(normalised_arguments(given.map(OsString::from)), normal.map(OsString::from));
    }
}
