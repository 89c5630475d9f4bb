//! From what hosts and programs say to what it means. Pure.

use std::time::Duration;

use git2::{ErrorClass, ErrorCode};

use crate::error::FetchError;

/// Longest detail that is shown, in characters.
const MAX_DETAIL: usize = 400;
/// Longest stay away that is believed.
const MAX_RETRY_AFTER: u64 = 24 * 3600;

/// The parts of an HTTP answer that decide.
#[derive(Clone, Copy, Default)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'a str>,
    /// `x-ratelimit-remaining`, which GitHub sends with a 403.
    pub(super) remaining: Option<&'a str>,
    pub(super) token_sent: bool,
}

/// What an HTTP answer other than 200 means.
pub(super) fn from_http(answer: Answer<'_>, remote: String) -> FetchError {
    let retry_after = answer
        .retry_after
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
    let limited = answer.retry_after.is_some() || answer.remaining == Some("0");
    match answer.status {
        429 => FetchError::RateLimited { remote, retry_after },
        403 | 503 if limited => FetchError::RateLimited { remote, retry_after },
        401 | 403 => {
            let detail = match (answer.token_sent, answer.status) {
                (false, _) => "it wants a token; set one in `credentials`",
                (true, 401) => "it does not accept the token; it may have expired",
                (true, _) => "the token may not read this repository",
            };
            FetchError::Authentication { remote, detail: detail.to_owned() }
        }
        404 | 410 => {
            let detail = if answer.token_sent {
                "the host answers 404; check the address, and whether the token may read it"
            } else {
                "the host answers 404; check the address; a private repository needs a token"
            };
            FetchError::RepositoryNotFound { remote, detail: detail.to_owned() }
        }
        status @ 500..=599 => {
            FetchError::HostUnreachable { remote, detail: format!("the host answers {status}") }
        }
        status => FetchError::Other { remote, detail: format!("the host answers {status}") },
    }
}

/// What the ssh program's standard error means.
pub(super) fn from_ssh(stderr: &str, remote: String) -> FetchError {
    let lower = stderr.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let said = ending(stderr);
    if says(&["host key verification failed", "host identification has changed"]) {
        let detail = format!(
            "its host key is not known or has changed ({said}); add the right key to known_hosts"
        );
        return FetchError::Authentication { remote, detail };
    }
    if says(&[
        "permission denied",
        "authentication fail",
        "access denied",
        "too many authentication",
    ]) {
        let detail = format!("{said}; check the key and its rights");
        return FetchError::Authentication { remote, detail };
    }
    if says(&[
        "could not resolve",
        "connection refused",
        "connection reset",
        "timed out",
        "no route to host",
        "network is unreachable",
        "connection closed",
    ]) {
        return FetchError::HostUnreachable { remote, detail: said };
    }
    if says(&["does not appear to be a git repository", "not found", "no such file", "not exist"]) {
        return FetchError::RepositoryNotFound { remote, detail: said };
    }
    FetchError::Other { remote, detail: said }
}

/// What an error of libgit2 means when nothing better is known. `message` is its text, safe to show.
pub(super) fn from_git(error: &git2::Error, message: &str, remote: String) -> FetchError {
    let detail = shortened(message);
    let lower = detail.to_ascii_lowercase();
    let refused = lower.starts_with("remote error:");
    if refused && ["not found", "not exported", "no such"].iter().any(|word| lower.contains(word)) {
        return FetchError::RepositoryNotFound { remote, detail };
    }
    match (error.class(), error.code()) {
        _ if refused => FetchError::Other { remote, detail },
        (_, ErrorCode::Auth | ErrorCode::Certificate) => {
            FetchError::Authentication { remote, detail }
        }
        (_, ErrorCode::Eof) | (ErrorClass::Net, _) => {
            FetchError::HostUnreachable { remote, detail }
        }
        (ErrorClass::Odb | ErrorClass::Object | ErrorClass::Zlib | ErrorClass::Indexer, _) => {
            FetchError::Corrupt { remote, detail }
        }
        _ => FetchError::Other { remote, detail },
    }
}

/// The last words, which say why a program ended.
fn ending(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().rev().nth(MAX_DETAIL) {
        Some((start, _)) => format!("…{}", &text[start..]),
        None => text.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_hosts_mean_by_them() {
        let kind = |status, retry_after, remaining, token_sent| {
            let answer = Answer { status, retry_after, remaining, token_sent };
            from_http(answer, "r".into())
        };
        assert_eq!(kind(401, None, None, false).kind(), "authentication");
        assert_eq!(kind(403, None, Some("12"), true).kind(), "authentication");
        assert_eq!(kind(403, None, Some("0"), true).kind(), "rate-limited");
        assert_eq!(kind(403, Some("60"), None, true).kind(), "rate-limited");
        assert_eq!(kind(404, None, None, true).kind(), "repository-not-found");
        assert_eq!(kind(502, None, None, true).kind(), "host-unreachable");
        assert_eq!(kind(418, None, None, true).kind(), "other");
        let wait = |text| kind(429, Some(text), None, false).retry_after();
        assert_eq!(wait("30"), Some(Duration::from_secs(30)));
        assert_eq!(wait("99999999999"), Some(Duration::from_secs(MAX_RETRY_AFTER)));
        assert_eq!(wait("Fri, 01 Jan 2100 00:00:00 GMT"), None);
    }

    #[test]
    fn ssh_programs_are_understood() {
        let table = [
            ("Host key verification failed.", "authentication"),
            ("git@h: Permission denied (publickey).", "authentication"),
            ("ssh: connect to host h port 22: Connection refused", "host-unreachable"),
            ("ssh: Could not resolve hostname h: Name or service not known", "host-unreachable"),
            ("fatal: '/x' does not appear to be a git repository", "repository-not-found"),
            ("something else", "other"),
        ];
        for (stderr, kind) in table {
            assert_eq!(from_ssh(stderr, "r".into()).kind(), kind, "{stderr}");
        }
    }
}
