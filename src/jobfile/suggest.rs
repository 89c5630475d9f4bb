//! The nearest known name, for "did you mean".

/// So many letters of a name count.
const MAX_LETTERS: usize = 64;
/// So many names are looked at. What has more is data, and nobody reads it.
const MAX_KNOWN: usize = 1_000;

/// The name that is most like `wrong`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 3).clamp(1, 3);
    let wrong = letters(wrong);
    let near = |name: &'a str| {
        let length = name.chars().take(MAX_LETTERS).count();
        if length.abs_diff(wrong.len()) > limit {
            return None;
        }
        let name_letters = letters(name);
        let far = distance(&wrong, &name_letters, limit)
            .or_else(|| are_anagrams(&wrong, &name_letters).then_some(limit + 1))?;
        Some((far, std::cmp::Reverse(common_start(&wrong, &name_letters)), name))
    };
    let found = known.into_iter().take(MAX_KNOWN).filter_map(near);
    found.min_by_key(|(far, common, _)| (*far, *common)).map(|(.., name)| name)
}

/// "did you mean `x`?", or nothing.
pub(crate) fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(wrong, known).map(|name| format!("did you mean `{name}`?"))
}

fn letters(text: &str) -> Vec<char> {
    text.chars().take(MAX_LETTERS).collect()
}

/// People seldom mistake the first letters.
fn common_start(a: &[char], b: &[char]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn are_anagrams(a: &[char], b: &[char]) -> bool {
    let sorted = |letters: &[char]| {
        let mut letters = letters.to_vec();
        letters.sort_unstable();
        letters
    };
    let sum = |letters: &[char]| letters.iter().map(|c| u32::from(*c)).sum::<u32>();
    a.len() == b.len() && sum(a) == sum(b) && sorted(a) == sorted(b)
}

/// Edits between two names (Levenshtein), if they are no more than the limit.
fn distance(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut least = left;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
            least = least.min(here);
        }
        if least > limit {
            return None;
        }
    }
    row.last().copied().filter(|far| *far <= limit)
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
        assert_eq!(nearest("krownet", known), Some("network"));
    }

    #[test]
    fn distance_counts_edits() {
        let far = |a, b, limit| distance(&letters(a), &letters(b), limit);
        assert_eq!(far("kitten", "sitting", 3), Some(3));
        assert_eq!(far("kitten", "sitting", 2), None);
        assert_eq!(far("", "abc", 3), Some(3));
        assert_eq!(far("abc", "abc", 1), Some(0));
    }
}
