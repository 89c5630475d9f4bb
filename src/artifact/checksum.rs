//! Checksums: what a file must be.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use crate::FetchError;
use crate::failure::shown;

/// The longest file of checksums, in bytes.
pub(crate) const MAX_LIST: u64 = 1 << 20;

/// What a file must come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    kind: &'static str,
    digest: String,
}

/// What a `checksum` option asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Digest(Expected),
    /// A list at an address.
    List(String),
}

/// Reads `type:hex`, `hex` alone, or `file:address`.
pub(crate) fn parse(option: &str) -> Result<Wanted, FetchError> {
    let option = option.trim();
    if let Some(address) = option.strip_prefix("file:") {
        return Ok(Wanted::List(address.to_owned()));
    }
    let (kind, digest) = match option.split_once(':') {
        Some((kind, digest)) => (Some(kind), digest),
        None => (None, option),
    };
    let by_length = kind_of(digest);
    match (kind, by_length) {
        (Some(kind), Some(found)) if kind == found => {}
        (None, Some(_)) => {}
        _ => {
            return Err(FetchError::refused(format!(
                "`{}` is no checksum: write md5, sha1, sha256 or sha512, a colon and the hexadecimal digits, or file: and an address",
                shown(option.as_bytes())
            )));
        }
    }
    let kind = by_length.unwrap_or("sha256");
    Ok(Wanted::Digest(Expected { kind, digest: digest.to_ascii_lowercase() }))
}

fn kind_of(digest: &str) -> Option<&'static str> {
    if !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    Some(match digest.len() {
        32 => "md5",
        40 => "sha1",
        64 => "sha256",
        128 => "sha512",
        _ => return None,
    })
}

/// Finds a file's checksum in a list as `sha256sum` or BSD tools write it. A list of one digest alone is meant for any
/// file.
pub(crate) fn in_list(list: &str, file: &str) -> Result<Expected, FetchError> {
    let digest = |word: &str| {
        let kind = kind_of(word)?;
        Some(Expected { kind, digest: word.to_ascii_lowercase() })
    };
    let base =
        |name: &str| name.trim_start_matches(['*', ' ']).rsplit('/').next().map(str::to_owned);
    for line in list.lines().map(str::trim) {
        let found = match line.split_once(|c: char| c.is_whitespace()) {
            // SHA256 (name) = digest
            Some((_, rest)) if rest.starts_with('(') => {
                rest.rsplit_once(") = ").and_then(|(name, word)| {
                    (base(name.trim_start_matches('(')).as_deref() == Some(file))
                        .then(|| digest(word))
                        .flatten()
                })
            }
            Some((word, name)) => {
                (base(name).as_deref() == Some(file)).then(|| digest(word)).flatten()
            }
            None => digest(line),
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(FetchError::refused(format!(
        "the list of checksums has none for `{}`",
        shown(file.as_bytes())
    )))
}

/// Adds up a file as it comes.
pub(crate) enum Sum {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Sum {
    pub(crate) fn of(expected: &Expected) -> Self {
        match expected.kind {
            "md5" => Self::Md5(Md5::new()),
            "sha1" => Self::Sha1(Sha1::new()),
            "sha512" => Self::Sha512(Sha512::new()),
            _ => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(sum) => sum.update(bytes),
            Self::Sha1(sum) => sum.update(bytes),
            Self::Sha256(sum) => sum.update(bytes),
            Self::Sha512(sum) => sum.update(bytes),
        }
    }

    /// Whether it came to what was expected.
    pub(crate) fn check(self, expected: &Expected) -> Result<(), FetchError> {
        let found = match self {
            Self::Md5(sum) => hex(&sum.finalize()),
            Self::Sha1(sum) => hex(&sum.finalize()),
            Self::Sha256(sum) => hex(&sum.finalize()),
            Self::Sha512(sum) => hex(&sum.finalize()),
        };
        if found == expected.digest {
            return Ok(());
        }
        Err(FetchError::refused(format!(
            "the checksum is wrong: expected {}:{}, and what came is {found}",
            expected.kind, expected.digest
        )))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_checked() {
        for option in [
            "md5:900150983cd24fb0d6963f7d28e17f72",
            "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
            "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            let Ok(Wanted::Digest(expected)) = parse(option) else { panic!("{option}") };
            let mut sum = Sum::of(&expected);
            sum.add(b"ab");
            sum.add(b"c");
            sum.check(&expected).expect("abc");
            let error = Sum::of(&expected).check(&expected).expect_err("empty");
            assert!(error.message.contains("checksum is wrong") && !error.recoverable);
        }
        for option in ["md5:00", "sha512:x", "crc:00", "", "sha1:900150983cd24fb0d6963f7d28e17f72"]
        {
            assert!(parse(option).is_err(), "{option}");
        }
    }

    #[test]
    fn lists_name_files() {
        let (a, b) = ("a".repeat(64), "b".repeat(40));
        let list = format!("{a}  ./dist/one.tgz\nSHA1 (two.tgz) = {b}\n# words\n");
        assert_eq!(in_list(&list, "one.tgz").expect("one").digest, a);
        assert_eq!(in_list(&list, "two.tgz").expect("two").kind, "sha1");
        assert!(in_list(&list, "three.tgz").is_err());
        assert_eq!(in_list(&format!("{a}\n"), "any").expect("alone").digest, a);
    }
}
