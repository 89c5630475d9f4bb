//! Tells values that may be secret from others, so that none is shown in a diff, a log or a finding.
//!
//! Two questions are asked of it. A checker asks whether somebody wrote a secret in plain text ([`looks_secret`]): it
//! must seldom be wrong. Whoever shows values asks for them without what may be secret ([`redact`]): it hides too much
//! before it shows too much. A value that only refers to a secret kept elsewhere (`${…}`, `{{ … }}`) is none.

mod job;
mod scan;
mod token;

use std::borrow::Cow;
use std::ops::Range;

pub use job::without_secrets;

/// Stands for a value that is not shown.
pub const HIDDEN: &str = "<hidden>";

/// So many characters of a name count.
const LONGEST_NAME: usize = 200;
/// Parts of a name that make its value a secret wherever they stand in it, without separators.
const ANYWHERE: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "encryptkey",
    "masterkey",
    "private",
    "credential",
    "authorization",
    "connectionstring",
    "basicauth",
    "sessionkey",
    "cookie",
];
/// Words of a name that do.
const WORDS: &[&str] = &["pass", "pwd", "pw", "jwt", "creds", "cred", "bearer", "psk"];
/// Last words of a name that make it speak of a secret and not hold one.
const ABOUT: &[&str] = &[
    "file",
    "files",
    "path",
    "dir",
    "directory",
    "ttl",
    "length",
    "timeout",
    "expiry",
    "expires",
    "expiration",
    "lifetime",
    "duration",
    "url",
    "uri",
    "endpoint",
    "enabled",
    "name",
    "issuer",
    "algorithm",
    "header",
    "mb",
];

/// Whether what goes by this name is a secret: `DB_PASSWORD`, `apiKey`, `auth`; not `PASSWORD_FILE` or `TOKEN_TTL`.
pub fn is_secret_name(name: &str) -> bool {
    let letters = name.chars().take(LONGEST_NAME).filter(|c| c.is_alphanumeric());
    let joined: String = letters.flat_map(char::to_lowercase).collect();
    let has_any = |parts: &[&str]| {
        (0..joined.len()).any(|at| {
            let rest = joined.as_bytes().get(at..).unwrap_or_default();
            parts.iter().any(|part| rest.starts_with(part.as_bytes()))
        })
    };
    let anywhere = joined == "auth" || has_any(ANYWHERE);
    if !anywhere && !has_any(WORDS) {
        return false;
    }
    let words = words(name);
    let Some(last) = words.last() else { return false };
    if words.len() > 1 && ABOUT.contains(&last.as_str()) {
        return false;
    }
    anywhere || words.iter().any(|word| WORDS.contains(&word.as_str()))
}

/// The words of a name in lower case: split at what is no letter or digit and where a capital begins a word.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in name.chars().take(LONGEST_NAME) {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        lower_before = c.is_lowercase() || c.is_ascii_digit();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether the value only names where the real one is: `${secret.db.password}`, `{{ key "db/password" }}`,
/// `$DB_PASSWORD`.
pub fn is_reference(value: &str) -> bool {
    scan::is_reference(value)
}

/// Whether somebody wrote a secret in plain text: the value of a name that holds secrets, or a text that holds a key, a
/// token, a password in a URL, `password=…` and the like. For checkers: a switch (`true`) is no secret.
pub fn looks_secret(name: &str, value: &str) -> bool {
    let plain = value.trim();
    if plain.is_empty() || is_reference(plain) {
        return false;
    }
    let switch = ["true", "false", "yes", "no", "on", "off", "none", "null"]
        .iter()
        .any(|word| plain.eq_ignore_ascii_case(word));
    (is_secret_name(name) && !switch) || holds_secret(plain)
}

/// Whether the text holds something that may be secret, whatever its name is.
pub fn holds_secret(text: &str) -> bool {
    !secret_parts(text).is_empty()
}

/// Whether an argument names a secret that the next one gives: `--token`.
pub fn announces_secret(argument: &str) -> bool {
    argument.starts_with('-')
        && !argument.contains(['=', ' '])
        && is_secret_name(argument.trim_start_matches('-'))
}

/// The value without what may be secret in it: [`HIDDEN`] where its name says that it is one, and where parts of it are
/// secret those replaced. A text of several lines that holds a secret is not shown at all.
pub fn redact<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if value.is_empty() || is_reference(value) {
        return Cow::Borrowed(value);
    }
    if is_secret_name(name) { Cow::Borrowed(HIDDEN) } else { redact_text(value) }
}

/// An argument of a list of them, which the one before may mark as secret: `--token`, `-u user:password`.
pub fn redact_argument<'a>(before: Option<&str>, argument: &'a str) -> Cow<'a, str> {
    if argument.is_empty() || is_reference(argument) {
        return Cow::Borrowed(argument);
    }
    if before.is_some_and(announces_secret) {
        return Cow::Borrowed(HIDDEN);
    }
    if before.is_some_and(scan::announces_login)
        && let Some(range) = scan::password_of_login(argument)
    {
        return Cow::Owned(replaced(argument, &[range]));
    }
    redact_text(argument)
}

/// The text with its secret parts replaced by [`HIDDEN`].
pub fn redact_text(text: &str) -> Cow<'_, str> {
    let parts = secret_parts(text);
    if parts.is_empty() {
        Cow::Borrowed(text)
    } else if text.trim_end().contains('\n') {
        Cow::Borrowed(HIDDEN)
    } else {
        Cow::Owned(replaced(text, &parts))
    }
}

/// The secret parts of a text, in order and apart from each other.
fn secret_parts(text: &str) -> Vec<Range<usize>> {
    let mut parts = token::parts(text);
    parts.extend(scan::parts(text));
    parts.retain(|part| part.start < part.end && text.get(part.clone()).is_some());
    parts.sort_by_key(|part| part.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    for part in parts {
        match joined.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => joined.push(part),
        }
    }
    joined
}

fn replaced(text: &str, parts: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for part in parts {
        out.push_str(text.get(at..part.start).unwrap_or_default());
        out.push_str(HIDDEN);
        at = part.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests;
