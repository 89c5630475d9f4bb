//! Patterns of paths: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any number of folders.

/// How many alternatives the braces of a pattern may come to.
const MAX_ALTERNATIVES: usize = 64;

/// A pattern.
pub(super) struct Glob {
    alternatives: Vec<Vec<Name>>,
    folder: String,
}

/// The pattern of one name in a path.
#[derive(Debug)]
enum Name {
    /// Any number of folders, or at the end everything beneath.
    Any,
    Like(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    One(char),
    AnyOne,
    AnyMany,
    Of { not: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{pattern}` is not a pattern of paths: {why}");
        let mut texts = Vec::new();
        expand(pattern, &mut texts).map_err(|why| wrong(&why))?;
        let alternatives = texts.iter().map(|text| {
            let names = text.split('/').map(|name| match name {
                "**" => Ok(Name::Any),
                name => parts(name).map(Name::Like),
            });
            names.collect::<Result<Vec<_>, _>>()
        });
        let alternatives = alternatives.collect::<Result<_, _>>().map_err(|why| wrong(&why))?;
        let names: Vec<&str> = pattern.split('/').collect();
        let plain = names.iter().take_while(|name| !name.contains(['*', '?', '[', '{', '\\']));
        let count = plain.count().min(names.len().saturating_sub(1));
        let folder = names.iter().take(count).copied().collect::<Vec<_>>().join("/");
        Ok(Self { alternatives, folder })
    }

    /// The folder that everything it matches lies beneath.
    pub(super) fn folder(&self) -> String {
        self.folder.clone()
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let path: Vec<Vec<char>> = path.split('/').map(|name| name.chars().collect()).collect();
        self.alternatives.iter().any(|names| all(names, &path))
    }
}

/// Goes through the pattern once, with all the places in the path that it may have come to.
fn all(names: &[Name], path: &[Vec<char>]) -> bool {
    let mut reached = vec![false; path.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for (n, name) in names.iter().enumerate() {
        let mut next = vec![false; path.len() + 1];
        for (at, _) in reached.iter().enumerate().filter(|(_, here)| **here) {
            match name {
                Name::Any => {
                    // A file has a name of its own, also behind any folders.
                    let last = n + 1 == names.len();
                    next.iter_mut().skip(at + usize::from(last)).for_each(|there| *there = true);
                }
                Name::Like(parts) => {
                    if path.get(at).is_some_and(|text| one(parts, text))
                        && let Some(there) = next.get_mut(at + 1)
                    {
                        *there = true;
                    }
                }
            }
        }
        reached = next;
    }
    reached.last() == Some(&true)
}

fn one(parts: &[Part], text: &[char]) -> bool {
    let (mut part, mut at) = (0, 0);
    // Where the last `*` stands, and how far it has been stretched.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let fits = match (parts.get(part), text.get(at)) {
            (None, None) => return true,
            (Some(Part::AnyMany), _) => {
                star = Some((part, at));
                part += 1;
                continue;
            }
            (Some(Part::One(c)), Some(found)) => c == found,
            (Some(Part::AnyOne), Some(_)) => true,
            (Some(Part::Of { not, ranges }), Some(c)) => {
                ranges.iter().any(|(from, to)| from <= c && c <= to) != *not
            }
            _ => false,
        };
        if fits {
            (part, at) = (part + 1, at + 1);
        } else if let Some((back, from)) = star.filter(|(_, from)| *from < text.len()) {
            star = Some((back, from + 1));
            (part, at) = (back + 1, from + 1);
        } else {
            return false;
        }
    }
}

fn parts(name: &str) -> Result<Vec<Part>, String> {
    let mut out = Vec::new();
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '*' => Part::AnyMany,
            '?' => Part::AnyOne,
            '\\' => Part::One(rest.next().ok_or("it ends in a backslash")?),
            '[' => {
                let mut next = rest.next();
                let not = next == Some('^');
                if not {
                    next = rest.next();
                }
                let mut ranges = Vec::new();
                loop {
                    let from = match next {
                        Some(']') if !ranges.is_empty() => break,
                        Some('\\') => rest.next(),
                        other => other,
                    };
                    let from = from.ok_or("a `[` is not closed")?;
                    let mut ahead = rest.clone();
                    let to = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(to)) if to != ']' => {
                            rest = ahead;
                            to
                        }
                        _ => from,
                    };
                    ranges.push((from, to));
                    next = rest.next();
                }
                Part::Of { not, ranges }
            }
            other => Part::One(other),
        });
    }
    Ok(out)
}

/// The texts that a pattern with braces stands for.
fn expand(pattern: &str, out: &mut Vec<String>) -> Result<(), String> {
    let Some(open) = unescaped(pattern, &['{']) else {
        if out.len() == MAX_ALTERNATIVES {
            return Err(format!("its braces come to more than {MAX_ALTERNATIVES}"));
        }
        out.push(pattern.to_owned());
        return Ok(());
    };
    let (before, inner) =
        (pattern.get(..open).unwrap_or(""), pattern.get(open + 1..).unwrap_or(""));
    let mut start = 0;
    let mut at = 0;
    let mut depth = 0_u32;
    let mut choices = Vec::new();
    loop {
        let found = inner.get(at..).and_then(|rest| unescaped(rest, &['{', '}', ',']));
        let found = at + found.ok_or("a `{` is not closed")?;
        match inner.as_bytes().get(found) {
            Some(b'{') => depth += 1,
            Some(b'}') if depth > 0 => depth -= 1,
            Some(b',') if depth > 0 => {}
            mark => {
                choices.push(inner.get(start..found).unwrap_or(""));
                start = found + 1;
                if mark == Some(&b'}') {
                    break;
                }
            }
        }
        at = found + 1;
    }
    let after = inner.get(start..).unwrap_or("");
    for choice in choices {
        expand(&format!("{before}{choice}{after}"), out)?;
    }
    Ok(())
}

/// Where the first of some characters stands that has no backslash before it.
fn unescaped(text: &str, any: &[char]) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && any.contains(&c) {
            return Some(at);
        }
        escaped = !escaped && c == '\\';
    }
    None
}
