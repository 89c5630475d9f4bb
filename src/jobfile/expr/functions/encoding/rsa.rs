//! `rsadecrypt`: what was encrypted with the public half of a key in PEM (PKCS #1), by RSA with the padding of its
//! version 1.5.
//!
//! The time this takes tells something of the key to whoever can measure it. It is no secret to those who can: the key
//! stands in the file that is read.

use base64::Engine as _;
use num_bigint::BigUint;

/// The longest key, in bits.
const MAX_BITS: u64 = 4096;

pub(super) fn decrypt(text: &[u8], key: &str) -> Result<Vec<u8>, String> {
    let (modulus, exponent) = read(key)?;
    if modulus.bits() > MAX_BITS {
        return Err(format!("the key has more than {MAX_BITS} bits"));
    }
    let length = usize::try_from(modulus.bits().div_ceil(8)).unwrap_or(usize::MAX);
    let text = BigUint::from_bytes_be(text);
    if text >= modulus {
        return Err(wrong());
    }
    let plain = text.modpow(&exponent, &modulus).to_bytes_be();
    // The first byte, a zero, is not among those of a number.
    let padded =
        plain.strip_prefix(&[2]).filter(|_| plain.len() + 1 == length).ok_or_else(wrong)?;
    let end = padded.iter().position(|byte| *byte == 0).filter(|end| *end >= 8);
    let content = end.and_then(|end| padded.get(end + 1..)).ok_or_else(wrong)?;
    Ok(content.to_vec())
}

fn wrong() -> String {
    "the text was not encrypted for this key".to_owned()
}

/// Modulus and private exponent.
fn read(key: &str) -> Result<(BigUint, BigUint), String> {
    let no_key = || {
        "argument 2 is no private key in PEM that starts with -----BEGIN RSA PRIVATE KEY-----"
            .to_owned()
    };
    let inner = key
        .split_once("-----BEGIN RSA PRIVATE KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END RSA PRIVATE KEY-----"))
        .map(|(inner, _)| inner)
        .ok_or_else(no_key)?;
    if inner.contains("ENCRYPTED") {
        return Err("the key is protected by a password".to_owned());
    }
    let text: String = inner.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| no_key())?;
    let (tag, mut fields, _) = element(&der).ok_or_else(no_key)?;
    let mut numbers = Vec::new();
    while numbers.len() < 4 {
        let (tag, content, rest) = element(fields).ok_or_else(no_key)?;
        fields = rest;
        if tag != 2 {
            return Err(no_key());
        }
        numbers.push(BigUint::from_bytes_be(content));
    }
    // Version, modulus, public exponent, private exponent.
    match <[BigUint; 4]>::try_from(numbers) {
        Ok([_, modulus, _, exponent]) if tag == 0x30 && modulus.bits() >= 128 => {
            Ok((modulus, exponent))
        }
        _ => Err(no_key()),
    }
}

/// Tag and content of the first element, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}
