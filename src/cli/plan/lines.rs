//! Long values: what is worth showing of them.

use std::borrow::Cow;

use model::wire::DiffType;

/// Characters of a value that are shown unless all are asked for.
const LONGEST: usize = 100;
/// Characters before the first difference that are kept when two long values are cut.
const BEFORE: usize = 20;
/// Unchanged lines around changed ones.
const AROUND: usize = 2;
/// The most pairs of lines that are compared; beyond, all old lines are followed by all new ones.
const MOST_WORK: usize = 1 << 20;

/// Two values cut to what is worth showing: the beginning, or where they begin to differ.
pub(super) fn shortened<'a>(
    old: Cow<'a, str>,
    new: Cow<'a, str>,
    kind: DiffType,
) -> (Cow<'a, str>, Cow<'a, str>) {
    let long = |text: &str| text.chars().count() > LONGEST;
    if !long(&old) && !long(&new) {
        return (old, new);
    }
    let same = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let start = if kind == DiffType::Edited && same > LONGEST - BEFORE { same - BEFORE } else { 0 };
    (cut(&old, start).into(), cut(&new, start).into())
}

fn cut(text: &str, start: usize) -> String {
    let left: String = text.chars().skip(start).take(LONGEST).collect();
    let more = text.chars().count() > start + LONGEST;
    format!("{}{left}{}", if start > 0 { "…" } else { "" }, if more { "…" } else { "" })
}

/// The lines of two texts, old and new ones marked; unchanged ones that are far from any change are left out unless
/// `whole`.
pub(super) fn line_diff(
    old: &str,
    new: &str,
    kind: DiffType,
    whole: bool,
) -> Vec<(DiffType, String)> {
    let all = |text: &str, kind| text.lines().map(|line| (kind, safe(line))).collect::<Vec<_>>();
    match kind {
        DiffType::Added | DiffType::None => return all(new, kind),
        DiffType::Deleted => return all(old, kind),
        DiffType::Edited => {}
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut out = script(&old, &new);
    if out.iter().all(|(kind, _)| *kind == DiffType::None) {
        out.push((DiffType::None, "(only the end of the last line changed)".to_owned()));
        return out.split_off(out.len() - 1);
    }
    if whole {
        return out;
    }
    let near: Vec<bool> = (0..out.len())
        .map(|at| {
            let (from, to) = (at.saturating_sub(AROUND), (at + AROUND + 1).min(out.len()));
            out.get(from..to)
                .is_some_and(|part| part.iter().any(|(kind, _)| *kind != DiffType::None))
        })
        .collect();
    let mut shown = Vec::new();
    let mut left_out = 0;
    for ((kind, line), near) in out.into_iter().zip(near) {
        if near {
            if left_out > 0 {
                shown.push((DiffType::None, format!("… {left_out} unchanged")));
            }
            left_out = 0;
            shown.push((kind, line));
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        shown.push((DiffType::None, format!("… {left_out} unchanged")));
    }
    shown
}

fn script(old: &[&str], new: &[&str]) -> Vec<(DiffType, String)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) =
        (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (
        old_rest.get(..old_rest.len() - tail).unwrap_or_default(),
        new_rest.get(..new_rest.len() - tail).unwrap_or_default(),
    );
    let width = b.len() + 1;
    let small = a.len().saturating_mul(b.len()) <= MOST_WORK;
    let mut lengths = vec![0_u32; if small { (a.len() + 1) * width } else { 0 }];
    let at = |lengths: &[u32], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or(0);
    if small {
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                let longest = if a.get(i) == b.get(j) {
                    at(&lengths, i + 1, j + 1) + 1
                } else {
                    at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
                };
                if let Some(cell) = lengths.get_mut(i * width + j) {
                    *cell = longest;
                }
            }
        }
    }
    let mut out: Vec<(DiffType, String)> =
        old.iter().take(head).map(|line| (DiffType::None, safe(line))).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) if small && x == y => {
                out.push((DiffType::None, safe(x)));
                (i, j) = (i + 1, j + 1);
            }
            (Some(x), y) if y.is_none() || at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                out.push((DiffType::Deleted, safe(x)));
                i += 1;
            }
            (_, Some(y)) => {
                out.push((DiffType::Added, safe(y)));
                j += 1;
            }
            _ => break,
        }
    }
    let rest = old.get(old.len() - tail..).unwrap_or_default();
    out.extend(rest.iter().map(|line| (DiffType::None, safe(line))));
    out
}

/// A line without what would move a terminal's cursor or change its colours.
fn safe(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
