//! Where tokens stand: the indentation of lines, the blanks within them and what is aligned across them.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

use super::tokens::{Bracket, Kind, Token};

/// Blanks for each level.
const INDENT: usize = 2;

/// The parts of a line that are aligned with those of the lines around it, as places in the list of tokens.
struct Line {
    /// All up to `=`; or everything, where there is no `=` or its value goes on in the next line.
    lead: Range<usize>,
    /// From `=` on.
    assignment: Range<usize>,
    /// A comment behind either of them.
    comment: Range<usize>,
}

/// Gives each token its blanks.
pub(super) fn lay_out(tokens: &mut [Token<'_>]) {
    let lines = lines(tokens);
    indent(tokens, &lines);
    for line in &lines {
        separate(tokens, line.lead.clone());
        separate(tokens, line.lead.end.saturating_sub(1)..line.assignment.end);
    }
    align(tokens, &lines, |line| (line.lead.clone(), line.assignment.clone()));
    align(tokens, &lines, |line| (line.lead.start..line.comment.start, line.comment.clone()));
}

fn lines(tokens: &[Token<'_>]) -> Vec<Line> {
    let mut start = 0;
    tokens
        .split_inclusive(Token::ends_line)
        .map(|line| {
            let end = start + line.len();
            let has_comment =
                line.len() > 1 && line.last().is_some_and(|last| last.kind == Kind::Comment);
            let code = if has_comment { end - 1 } else { end };
            let equal = line
                .iter()
                .position(|token| token.kind == Kind::Equal)
                .filter(|at| *at > 0 && opened(line.get(*at..).unwrap_or_default()) == 0)
                .map_or(code, |at| start + at);
            let found = Line { lead: start..equal, assignment: equal..code, comment: code..end };
            start = end;
            found
        })
        .collect()
}

/// How many more brackets open than close.
fn opened(tokens: &[Token<'_>]) -> isize {
    tokens
        .iter()
        .map(|token| match token.kind {
            Kind::Open(_) => 1,
            Kind::Close(_) => -1,
            _ => 0,
        })
        .sum()
}

/// Brackets that open in one line make one level together, however many they are, and it ends where as many have been
/// closed again.
fn indent(tokens: &mut [Token<'_>], lines: &[Line]) {
    let mut levels: Vec<usize> = Vec::new();
    for line in lines {
        // What stands behind `=` is balanced. What opens within a heredoc that begins here is of no concern to its line.
        let lead = tokens.get(line.lead.clone()).unwrap_or_default();
        let code = lead.split(|token| token.kind == Kind::HeredocOpen).next();
        let change = opened(code.unwrap_or_default());
        let Some(first) = tokens.get_mut(line.lead.start) else { continue };
        if first.kind == Kind::Newline {
            continue;
        }
        let mut closed = if change < 0 { change.unsigned_abs() } else { 0 };
        while closed > 0
            && let Some(level) = levels.last_mut()
        {
            let taken = closed.min(*level);
            *level -= taken;
            closed -= taken;
            if *level == 0 {
                levels.pop();
            }
        }
        first.blanks = INDENT * levels.len();
        if change > 0 {
            levels.push(change.unsigned_abs());
        }
    }
}

/// Sets the blanks between tokens, none before the first.
fn separate(tokens: &mut [Token<'_>], range: Range<usize>) {
    let mut before = None;
    let mut left: Option<Kind> = None;
    for token in tokens.get_mut(range).unwrap_or_default() {
        if let Some(left) = left {
            token.blanks = usize::from(is_apart(before, left, token.kind));
            before = Some(left);
        }
        left = Some(token.kind);
    }
}

/// Whether a blank stands between two tokens of a line. `before` is what stands before the left one.
fn is_apart(before: Option<Kind>, left: Kind, right: Kind) -> bool {
    use Bracket::{Brace, Round, Square, Template};
    use Kind::{
        Bang, Close, Comma, Dot, DoubleColon, Ellipsis, HeredocClose, HeredocOpen, In, Minus,
        Newline, Number, Open, QuoteClose, QuoteOpen, Text, Word,
    };
    match (left, right) {
        (_, Newline | Dot | Comma | Ellipsis) | (Dot, _) => false,
        // A call, and the name of a function of a namespace.
        (Word | In, Open(Round) | DoubleColon) | (DoubleColon, Word | In) => false,
        (Comma, _) => true,
        (Text | QuoteOpen | HeredocOpen, _) | (_, Text | QuoteClose | HeredocClose) => false,
        // The word of `for x in [1]`, where a list stands and no index.
        (In, _) if matches!(before, Some(Word | In)) => true,
        // An index.
        (Word | In | Number | Close(_), Open(Square)) => false,
        (Bang, _) => false,
        (Minus, _) => !is_sign(before),
        (Open(Brace), Close(Brace)) => false,
        (Open(Brace), _) | (_, Close(Brace)) => true,
        (Open(Template), Open(Brace)) | (Close(Brace), Close(Template)) => true,
        (Close(Template), Open(Template)) => false,
        (Open(_), _) | (_, Close(_)) => false,
        _ => true,
    }
}

/// Whether a `-` behind this is the sign of a number: there is nothing to take away from.
fn is_sign(before: Option<Kind>) -> bool {
    use Kind::{Bang, Colon, Comma, Equal, Minus, Open, Operator, Question};
    match before {
        None => true,
        Some(Open(bracket)) => bracket != Bracket::Template,
        Some(Equal | Colon | Comma | Question | Operator | Minus | Bang) => true,
        Some(_) => false,
    }
}

/// Moves the second part of lines to one column, wherever lines that have one follow each other.
fn align(
    tokens: &mut [Token<'_>],
    lines: &[Line],
    parts: impl Fn(&Line) -> (Range<usize>, Range<usize>),
) {
    let has_part = |line: &Line| !parts(line).1.is_empty();
    for block in lines
        .chunk_by(|a, b| has_part(a) == has_part(b))
        .filter(|block| block.first().is_some_and(has_part))
    {
        let widths: Vec<usize> = block
            .iter()
            .map(|line| tokens.get(parts(line).0).unwrap_or_default().iter().map(width).sum())
            .collect();
        let widest = widths.iter().copied().max().unwrap_or(0);
        for (line, width) in block.iter().zip(widths) {
            if let Some(first) = tokens.get_mut(parts(line).1.start) {
                first.blanks = widest - width + 1;
            }
        }
    }
}

fn width(token: &Token<'_>) -> usize {
    let text = token.text;
    let columns = if text.is_ascii() && !text.contains('\r') {
        text.len()
    } else {
        text.graphemes(true).count()
    };
    token.blanks + columns
}
