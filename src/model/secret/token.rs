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

/// The shortest token.
const SHORTEST: usize = 14;

/// The tokens in a text.
pub(super) fn parts(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if let Some((before, after)) = text.split_once("-----BEGIN ")
        && after.split("-----").next().is_some_and(|kind| kind.contains("PRIVATE KEY"))
    {
        found.push(before.len()..text.len());
    }
    if text.len() >= SHORTEST {
        prefixed(text, &mut found);
    }
    let hashes = if text.contains(['$', '{']) { HASHES } else { &[] };
    let hooks = if text.contains('/') { HOOKS } else { &[] };
    for marker in hashes.iter().chain(hooks) {
        // Where the last one ended: all that stands before it ends there too.
        let mut end = 0;
        for (at, _) in text.match_indices(marker) {
            let start = if HOOKS.contains(marker) { at + marker.len() } else { at };
            if start >= end {
                let rest = text.get(start..).unwrap_or_default();
                let length =
                    rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '`'));
                end = length.map_or(text.len(), |length| start + length);
            }
            found.push(start..end);
        }
    }
    found
}

/// Tokens that begin in a known way, where no other word ends.
fn prefixed(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut in_word = false;
    let mut end = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if std::mem::replace(&mut in_word, byte.is_ascii_alphanumeric()) || !in_word {
            continue;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        for (prefix, least) in PREFIXES {
            if !rest.starts_with(prefix.as_bytes()) {
                continue;
            }
            let start = at + prefix.len();
            if start >= end {
                let length = bytes.iter().skip(start).take_while(|byte| is_token(**byte)).count();
                end = start + length;
            }
            if end - start >= *least {
                found.push(at..end);
            }
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/' | b'=')
}
