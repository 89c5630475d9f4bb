//! Values that are secret by where they stand in a text: after a name (`password=…`, `--token …`), as a password in a
//! URL, as a login (`-u user:…`), after `Bearer`.

use std::ops::Range;

use super::{is_secret_name, words};

/// The longest name that is looked at.
const LONGEST_NAME: usize = 80;

/// So much is looked at behind what announces a value, times the length of the text. Texts in which values announce one
/// another over and over need more; their rest is taken for one secret.
const MAX_WORK: usize = 16;

/// The secret parts of a text.
pub(super) fn parts(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut actions = spans(text, false).into_iter().peekable();
    let mut token = Token::default();
    let mut work = (text.len() + 1_000) * MAX_WORK;
    for (at, mark) in text.bytes().enumerate() {
        if !matches!(mark, b':' | b'=' | b' ') {
            continue;
        }
        while actions.next_if(|span| span.end <= at).is_some() {}
        if actions.peek().is_some_and(|span| span.contains(&at)) {
            continue;
        }
        let part = match mark {
            b':' if text.get(at..).is_some_and(|rest| rest.starts_with("://")) => {
                token.userinfo(text, at, &mut work)
            }
            b'=' | b':' => named(text, at, &mut work),
            _ => after_word(text, at),
        };
        found.extend(part);
        if work == 0 {
            found.push(at..text.len());
            break;
        }
    }
    found
}

/// `${…}` and `{{ … }}` that refer to something. One that opens with a quoted text holds the text itself, and counts
/// only where `literals` says so.
fn spans(text: &str, literals: bool) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut closes = Closes::default();
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find(['$', '{'])) {
        at += next;
        let Some(end) = closes.end_of(text, at) else {
            at += 1;
            continue;
        };
        let inner = text.get(at + 2..end).unwrap_or_default();
        let literal = inner.trim_start_matches('-').trim_start().starts_with(['"', '\'', '`']);
        if literals || !literal {
            found.push(at..end);
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// Where the next `}` and `}}` are, which are looked for once and not for each bracket that opens.
#[derive(Default)]
struct Closes {
    single: Option<usize>,
    double: Option<usize>,
    /// How much has been looked at.
    searched: usize,
}

impl Closes {
    /// The end of the `${…}` or `{{…}}` that opens there. Places must not go down from call to call.
    fn end_of(&mut self, text: &str, at: usize) -> Option<usize> {
        let rest = text.get(at..)?;
        let (known, close) = if rest.starts_with("${") {
            (&mut self.single, "}")
        } else if rest.starts_with("{{") {
            (&mut self.double, "}}")
        } else {
            return None;
        };
        let from = at + 2;
        let next = match *known {
            Some(next) if next >= from => next,
            _ => {
                let found = text.get(from..).and_then(|rest| rest.find(close));
                self.searched += found.unwrap_or(text.len() - at);
                *known.insert(found.map_or(usize::MAX, |length| from + length))
            }
        };
        (next < text.len()).then(|| next + close.len())
    }
}

pub(super) fn is_reference(value: &str) -> bool {
    let value = value.trim();
    if let Some(name) = value.strip_prefix('$')
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return true;
    }
    let spans = spans(value, false);
    if spans.is_empty() {
        return false;
    }
    let mut rest = String::new();
    let mut at = 0;
    for span in &spans {
        rest.push_str(value.get(at..span.start).unwrap_or_default());
        at = span.end;
    }
    rest.push_str(value.get(at..).unwrap_or_default());
    !rest.contains(char::is_alphanumeric)
}

/// The text up to the next white space or quote, which URLs may share.
#[derive(Default)]
struct Token {
    end: usize,
    /// Its last `@`.
    last: Option<usize>,
}

impl Token {
    /// A password in a URL whose `://` is at `at`: all between the first `:` and the last `@` of what names the host.
    fn userinfo(&mut self, text: &str, at: usize, work: &mut usize) -> Option<Range<usize>> {
        let start = at + 3;
        if start > self.end {
            let rest = text.get(start..)?;
            let length = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'))
                .unwrap_or(rest.len());
            self.end = start + length;
            self.last = rest.get(..length)?.rfind('@').map(|at| start + at);
        }
        let last = self.last.filter(|last| *last >= start)?;
        let rest = text.get(start..self.end)?;
        *work = work.saturating_sub(rest.len());
        let authority = rest.get(..rest.find(['/', '?', '#']).unwrap_or(rest.len()))?;
        let login = match (authority.rfind('@'), rest.split_once(':')) {
            (Some(at), _) => rest.get(..at)?,
            // A password with a slash in it; a port is none.
            (None, Some((_, after)))
                if !after.split(['/', '?', '#']).next().is_some_and(|port| {
                    !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
                }) =>
            {
                rest.get(..last - start)?
            }
            _ => return None,
        };
        match login.split_once(':') {
            Some((user, password))
                if password == "x-oauth-basic" || user.is_empty() || user.len() > 30 =>
            {
                unless_reference(login, start)
            }
            Some((user, password)) => unless_reference(password, start + user.len() + 1),
            None if login.len() >= 16 => unless_reference(login, start),
            None => None,
        }
    }
}

fn unless_reference(value: &str, start: usize) -> Option<Range<usize>> {
    (!value.is_empty() && !is_reference(value)).then_some(start..start + value.len())
}

/// What a secret's name gives: `name=value`, `name: value`, `"name": "value"`. `at` is the sign between them.
fn named(text: &str, at: usize, work: &mut usize) -> Option<Range<usize>> {
    let before = text.get(..at)?.trim_end_matches([' ', '\t']);
    let spaced = before.len() < at || text.get(at + 1..)?.starts_with([' ', '\t']);
    let before = before.trim_end_matches(['"', '\'']);
    let name = before
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .map_or(before, |edge| before.get(edge..).unwrap_or_default());
    let name = name.trim_start_matches(|c: char| !c.is_alphanumeric());
    if name.is_empty() || name.len() > LONGEST_NAME || !is_secret_name(name) {
        return None;
    }
    // The value of `Authorization` has words in it.
    let whole_line = spaced || name.to_ascii_lowercase().contains("authorization");
    let after = text.get(at + 1..)?;
    let skipped = after.len() - after.trim_start_matches([' ', '\t', '=', '>', ':']).len();
    let start = at + 1 + skipped;
    let value = text.get(start..)?;
    let (value, start) = match value.chars().next()? {
        quote @ ('"' | '\'' | '`') => {
            let inner = value.get(1..)?;
            let end = inner.find(quote).unwrap_or(inner.len());
            (inner.get(..end)?, start + 1)
        }
        _ => (value.get(..bare_end(value, whole_line, work))?, start),
    };
    *work = work.saturating_sub(value.len());
    // `\` before a closing quote belongs to what holds the text.
    let value = value.trim_end_matches(['\\', '\r']);
    if value.starts_with('\\') && value.len() < 3 {
        return None;
    }
    unless_reference(value, start)
}

/// Where a value without quotes ends: at the line's end or a space, or where the next `name=` begins.
fn bare_end(value: &str, whole_line: bool, work: &mut usize) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.');
    let next_pair = |rest: &str| {
        let behind = rest.trim_start_matches(is_name);
        behind.len() < rest.len() && behind.starts_with('=')
    };
    let mut closes = Closes::default();
    let mut at = 0;
    let mut end = value.len();
    while let Some(c) = value.get(at..).and_then(|rest| rest.chars().next()) {
        let behind = at + c.len_utf8();
        let ends = match c {
            '\n' | '"' | '\'' | '`' => true,
            ' ' | '\t' => !whole_line,
            ';' | '&' | ',' => next_pair(value.get(behind..).unwrap_or_default()),
            _ => false,
        };
        if ends {
            end = at;
            break;
        }
        at = closes.end_of(value, at).unwrap_or(behind);
    }
    *work = work.saturating_sub(closes.searched);
    end
}

/// What a word before a space announces: `Bearer …`, `Basic …`, `--token …`, `-u user:…`.
fn after_word(text: &str, at: usize) -> Option<Range<usize>> {
    let before = text.get(..at)?;
    let word = before.rsplit([' ', '\t', '\n', '"', '\'', ':', '=']).next()?;
    let is_scheme = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
    if !is_scheme && !word.starts_with('-') {
        return None;
    }
    let value = text.get(at + 1..)?;
    let quoted = value.len() - value.trim_start_matches(['"', '\'', ' ']).len();
    let start = at + 1 + quoted;
    let value = value.get(quoted..)?;
    let end = value.find([' ', '\t', '\n', '"', '\'', ',', ';']).unwrap_or(value.len());
    let value = value.get(..end)?;
    if is_scheme {
        let opaque = value.len() >= 6
            && value.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || c == '=');
        return opaque.then(|| unless_reference(value, start)).flatten();
    }
    if announces_login(word) {
        let range = password_of_login(value)?;
        return Some(start + range.start..start + range.end);
    }
    let flag = super::announces_secret(word) && !value.starts_with('-');
    flag.then(|| unless_reference(value, start)).flatten()
}

/// Whether the next argument is `user:password`.
pub(super) fn announces_login(argument: &str) -> bool {
    matches!(argument, "-u" | "--user" | "--proxy-user" | "-U")
        || (argument.starts_with('-')
            && words(argument).last().is_some_and(|last| last == "auth" || last == "userpass"))
}

/// The password of `user:password`; two numbers are a user's and a group's.
pub(super) fn password_of_login(login: &str) -> Option<Range<usize>> {
    let (user, password) = login.split_once(':')?;
    let number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let names = login.contains("://") || (number(user) && number(password));
    if names { None } else { unless_reference(password, user.len() + 1) }
}
