//! References that are resolved at run time, such as `env["x"]`. They reach the task as they are written, with the blanks
//! in them: these belong to what the job says, and are no matter of style.

/// What such references begin with.
const ROOTS: [&str; 6] = ["attr", "device", "env", "meta", "node", "secret"];

/// How many bytes the reference at the start of a text has, where blanks stand within it.
pub(super) fn length_with_blanks(text: &str, word: &str) -> Option<usize> {
    if !ROOTS.contains(&word) {
        return None;
    }
    let mut end = word.len();
    while let Some(length) = text.get(end..).and_then(step) {
        end += length;
    }
    let has_blanks = text.get(..end)?.contains([' ', '\t']);
    has_blanks.then_some(end)
}

/// How many bytes the next `.name` or `["key"]` has, with the blanks before it.
fn step(text: &str) -> Option<usize> {
    let rest = bare(text);
    let after = if let Some(rest) = rest.strip_prefix('.') {
        let rest = bare(rest);
        rest.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'))
    } else {
        let rest = bare(rest.strip_prefix('[')?);
        let after = match rest.strip_prefix('"') {
            Some(key) => {
                let (key, after) = key.split_once('"')?;
                // Escapes and templates have tokens of their own.
                (!key.contains(['\\', '$', '%', '\n'])).then_some(after)?
            }
            None => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        };
        bare(after).strip_prefix(']')?
    };
    Some(text.len() - after.len())
}

fn bare(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blanks_within_a_reference_count() {
        for (text, word, length) in [
            ("env[ \"x\" ] }", "env", Some(10)),
            ("attr . kernel.name + 1", "attr", Some(18)),
            ("meta .x[ 0 ]\n", "meta", Some(12)),
            ("attr.kernel.name }", "attr", None),
            ("env [\"${x}\"]", "env", None),
            ("env = [1]", "env", None),
            ("var . x", "var", None),
        ] {
            assert_eq!(length_with_blanks(text, word), length, "{text}");
        }
    }
}
