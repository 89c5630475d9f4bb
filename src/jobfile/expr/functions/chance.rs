//! Chance that is none: bytes that differ from call to call, and are the same whenever the same file is read.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use blowfish::Blowfish;
use sha2::{Digest as _, Sha256};

use super::{Args, Site};
use crate::expr::cty::Value;

/// Bytes for one call.
fn bytes(site: Site<'_>) -> [u8; 32] {
    let globals = site.globals;
    let mut hash = Sha256::new();
    hash.update(globals.folder.as_bytes());
    hash.update([0]);
    hash.update(globals.text.as_bytes());
    hash.update(globals.budget.chance().to_le_bytes());
    hash.finalize().into()
}

/// The first 16 bytes as a UUID of a version.
pub(super) fn uuid(bytes: &[u8], version: u8) -> String {
    let mut out = String::with_capacity(36);
    for (at, byte) in bytes.iter().take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let byte = match at {
            6 => (byte & 0x0f) | (version << 4),
            8 => (byte & 0x3f) | 0x80,
            _ => *byte,
        };
        write!(out, "{byte:02x}").expect("text takes all that is written");
    }
    out
}

/// A UUID that stays as long as the file does: one that changed whenever the file is read would start its job anew each
/// time.
pub(super) fn uuid_v4(a: &Args<'_>) -> Result<Value, String> {
    Ok(Value::text(uuid(&bytes(a.site), 4)))
}

/// Each cost more takes twice as long. A file may take as long as this once.
const MOST_COST: u32 = 10;
/// What Go's library takes where none is asked for, or one below the least.
const DEFAULT_COST: u32 = 10;
const LEAST_COST: u32 = 4;
/// How many steps one of the rounds counts, of which there are two to the power of the cost.
const STEPS_PER_ROUND: u32 = 400;

/// A hash with a salt that stays as long as the file does.
pub(super) fn bcrypt(a: &Args<'_>) -> Result<Value, String> {
    let text = a.text(0)?;
    let cost = if a.len() > 1 { a.int(1)? } else { i64::from(DEFAULT_COST) };
    let cost = u32::try_from(cost).unwrap_or(if cost < 0 { 0 } else { u32::MAX });
    let cost = if cost < LEAST_COST { DEFAULT_COST } else { cost };
    if text.len() > 72 {
        return Err("no more than 72 bytes can be hashed".to_owned());
    }
    if cost > MOST_COST {
        return Err(format!(
            "a cost of {cost} takes too long while job files are read, up to {MOST_COST} is possible"
        ));
    }
    let budget = &a.site.globals.budget;
    budget.steps(a.site.span, STEPS_PER_ROUND << cost).map_err(|fault| fault.message)?;
    let mut salt = [0; 16];
    salt.iter_mut().zip(bytes(a.site)).for_each(|(to, from)| *to = from);
    Ok(Value::text(format!("$2a${cost:02}${}{}", digits(&salt), digits(&hash(&text, &salt, cost)))))
}

/// The 23 bytes that a text, a salt and a cost come to.
fn hash(text: &str, salt: &[u8], cost: u32) -> Vec<u8> {
    // The zero at the end of a C string counts.
    let mut key = text.as_bytes().to_vec();
    key.push(0);
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1_u32 << cost {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    let mut out = Vec::with_capacity(24);
    for block in b"OrpheanBeholderScryDoubt".chunks_exact(8) {
        let half = |bytes: &[u8]| bytes.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
        let (left, right) = block.split_at(4);
        let mut pair = [half(left), half(right)];
        for _ in 0..64 {
            pair = state.bc_encrypt(pair);
        }
        out.extend(pair.iter().flat_map(|half| half.to_be_bytes()));
    }
    out.truncate(23);
    out
}

/// Bytes as text: base 64 with digits in an order of its own.
fn digits(bytes: &[u8]) -> String {
    GeneralPurpose::new(&base64::alphabet::BCRYPT, NO_PAD).encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash was checked with Go's library.
    #[test]
    fn a_hash_is_that_of_other_implementations() {
        let salt: Vec<u8> = (0..16).collect();
        let found = format!("$2a$04${}{}", digits(&salt), digits(&hash("hello", &salt, 4)));
        assert_eq!(found, "$2a$04$..CA.uOD/eaGAOmJB.yMBuXVkvC8b09bVi1XEpxb.PqgxJfLsB4Lu");
    }
}
