//! Values that are secret by how they look: keys and tokens that begin in a known way, and hashed passwords.

use std::ops::Range;

/// How tokens of well-known issuers begin, and how many characters follow at least.
const PREFIXES: &[(&str, usize)] = &[
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 12),
    ("gldt-", 12),
    ("glrt-", 12),
    ("glcbt-", 12),
    ("glptt-", 12),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ya29.", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("eyJ", 20),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("whsec_", 16),
    ("sk-ant-", 16),
    ("sk-proj-", 16),
    ("sk-", 24),
    ("hvs.", 16),
    ("hvb.", 16),
    ("hvr.", 16),
    ("npm_", 20),
    ("pypi-", 20),
    ("dckr_pat_", 16),
    ("dop_v1_", 16),
    ("shpat_", 16),
    ("shpss_", 16),
    ("hf_", 24),
    ("glsa_", 16),
    ("lin_api_", 16),
    ("tskey-", 16),
    ("SG.", 30),
    ("ATATT3", 16),
    ("AGE-SECRET-KEY-1", 16),
];

/// Hosts whose paths are the secret.
const HOOKS: &[&str] = &[
    "hooks.slack.com/services/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
    "hooks.zapier.com/hooks/",
];

/// How hashed passwords begin.
const HASHES: &[&str] =
    &["$apr1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$argon2", "$scrypt$", "{SHA}", "{SSHA}"];

/// The tokens in a text.
pub(super) fn parts(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if let Some(at) = text.find("-----BEGIN ") {
        let kind = text.get(at + 11..).unwrap_or_default();
        if kind.split("-----").next().is_some_and(|kind| kind.contains("PRIVATE KEY")) {
            found.push(at..text.len());
        }
    }
    for (prefix, least) in PREFIXES {
        for (at, _) in text.match_indices(prefix) {
            let bounded = !text.as_bytes()[..at].last().is_some_and(u8::is_ascii_alphanumeric);
            let rest = text.get(at + prefix.len()..).unwrap_or_default();
            let length = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
            if bounded && length >= *least {
                found.push(at..at + prefix.len() + length);
            }
        }
    }
    for marker in HASHES.iter().chain(HOOKS) {
        for (at, _) in text.match_indices(marker) {
            let start = if HOOKS.contains(marker) { at + marker.len() } else { at };
            let rest = text.get(start..).unwrap_or_default();
            let length = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '`'))
                .unwrap_or(rest.len());
            found.push(start..start + length);
        }
    }
    found
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | '=')
}
