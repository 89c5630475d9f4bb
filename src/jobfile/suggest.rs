//! The nearest known name, for "did you mean".

/// The name that is most like `wrong`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .filter(|(far, name)| *far <= limit || sorted(wrong) == sorted(name))
        .min_by_key(|(far, name)| (*far, std::cmp::Reverse(common_start(wrong, name))))
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or nothing.
pub(crate) fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(wrong, known).map(|name| format!("did you mean `{name}`?"))
}

/// People seldom mistake the first letters.
fn common_start(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

fn sorted(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().take(64).collect();
    chars.sort_unstable();
    chars
}

/// Edits between two names (Levenshtein), of which only the first characters count.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let here = (diagonal + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["count", "constraint", "network", "restart"];
        assert_eq!(nearest("cuont", known), Some("count"));
        assert_eq!(nearest("contraint", known), Some("constraint"));
        assert_eq!(nearest("networks", known), Some("network"));
        assert_eq!(nearest("image", known), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
