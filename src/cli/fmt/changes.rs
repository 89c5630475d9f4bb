//! The change of a file as a unified diff.

use std::fmt::Write as _;
use std::ops::Range;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// The unified diff between a text and its formatted form. Formatting neither adds nor removes lines, so that the n-th
/// line of one is the n-th of the other; at most the last, without an end and only of blanks, is gone.
pub(super) fn unified(path: &str, old: &str, new: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let count = old.len().max(new.len());
    let changed: Vec<usize> = (0..count).filter(|at| old.get(*at) != new.get(*at)).collect();
    let mut text = format!("--- {path}\n+++ {path}\n");
    for near in changed.chunk_by(|a, b| b - a <= 2 * CONTEXT) {
        let (Some(first), Some(last)) = (near.first(), near.last()) else { continue };
        let range = first.saturating_sub(CONTEXT)..(last + 1 + CONTEXT).min(count);
        hunk(&mut text, &old, &new, range);
    }
    text
}

fn hunk(text: &mut String, old: &[&str], new: &[&str], range: Range<usize>) {
    let place = |lines: &[&str]| {
        let shown = range.end.min(lines.len()).saturating_sub(range.start);
        // A side without lines is named by the line before it.
        let start = if shown == 0 { range.start } else { range.start + 1 };
        format!("{start},{shown}")
    };
    let _ = writeln!(text, "@@ -{} +{} @@", place(old), place(new));
    let is_changed = |at: &usize| old.get(*at) != new.get(*at);
    let places: Vec<usize> = range.collect();
    for run in places.chunk_by(|a, b| is_changed(a) == is_changed(b)) {
        let lines = |of: &[&str], mark: char| -> String {
            run.iter().filter_map(|at| of.get(*at)).map(|line| marked(mark, line)).collect()
        };
        if run.first().is_some_and(is_changed) {
            *text += &lines(old, '-');
            *text += &lines(new, '+');
        } else {
            *text += &lines(new, ' ');
        }
    }
}

fn marked(mark: char, line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => format!("{mark}{line}\n"),
        None => format!("{mark}{line}\n\\ No newline at end of file\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_far_apart_are_shown_apart() {
        let lines = |change: &str| -> String {
            (1..=20)
                .map(
                    |n| if n == 2 || n == 19 { format!("{change}{n}\n") } else { format!("{n}\n") },
                )
                .collect()
        };
        let expected = "--- a\n+++ a\n@@ -1,5 +1,5 @@\n 1\n-x2\n+y2\n 3\n 4\n 5\n\
                        @@ -16,5 +16,5 @@\n 16\n 17\n 18\n-x19\n+y19\n 20\n";
        assert_eq!(unified("a", &lines("x"), &lines("y")), expected);
    }

    #[test]
    fn the_end_of_a_file_is_told() {
        let expected = "--- a\n+++ a\n@@ -1,1 +1,1 @@\n-a=1\n\\ No newline at end of file\n+a = 1\n\
                        \\ No newline at end of file\n";
        assert_eq!(unified("a", "a=1", "a = 1"), expected);
        let expected = "--- a\n+++ a\n@@ -1,2 +1,1 @@\n a\n-  \n\\ No newline at end of file\n";
        assert_eq!(unified("a", "a\n  ", "a\n"), expected);
    }
}
