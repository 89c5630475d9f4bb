//! Values that a diff must not show.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Stands for a value that is not shown.
pub(super) const HIDDEN: &str = "<hidden>";
/// Stands for a value that is not shown and differs from the one before.
pub(super) const CHANGED: &str = "<changed>";

static NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "(?i)secret|password|passwd|passphrase|token|api[_-]?key|private|credential|authorization",
    )
    .expect("the pattern is fixed")
});
static USERINFO: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("(://[^/@:\\s]*:)[^@\\s]+@").expect("the pattern is fixed"));

/// Whether what goes by this name is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    NAME.is_match(name) || name.eq_ignore_ascii_case("auth")
}

/// Whether the text names a secret and gives it: `--token=…`, `PASSWORD=…`.
pub(super) fn gives_secret(text: &str) -> bool {
    text.split_once(['=', ':', ' '])
        .is_some_and(|(name, value)| !value.is_empty() && name.len() <= 80 && NAME.is_match(name))
}

/// Whether the text names a secret that the next item gives: `--token`.
pub(super) fn announces_secret(text: &str) -> bool {
    text.starts_with('-') && !text.contains('=') && NAME.is_match(text)
}

/// The text without a password in a URL.
pub(super) fn without_userinfo(text: &str) -> Cow<'_, str> {
    USERINFO.replace_all(text, "${1}<hidden>@")
}
