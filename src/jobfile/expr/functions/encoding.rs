//! Functions that write values as text, and back, and those that make hashes and ids.

mod rsa;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use md5::Md5;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512};

use super::{Args, Function, chance};
use crate::expr::cty::{Value, from_json, to_json};

pub(super) const FUNCTIONS: &[Function] = &[
    Function("jsonencode", 1, 1, |a| Ok(Value::text(to_json(a.value(0))))),
    Function("jsondecode", 1, 1, |a| {
        from_json(&a.text(0)?).map_err(|why| format!("this is not JSON: {why}"))
    }),
    Function("base64encode", 1, 1, |a| Ok(Value::text(BASE64.encode(a.text(0)?)))),
    Function("base64decode", 1, 1, |a| {
        let bytes = from_base64(&a.text(0)?)?;
        String::from_utf8(bytes).map(Value::text).map_err(|_| "this is not text".to_owned())
    }),
    Function("urlencode", 1, 1, |a| Ok(Value::text(url_encode(&a.text(0)?)))),
    Function("md5", 1, 1, hash::<Md5>),
    Function("sha1", 1, 1, hash::<Sha1>),
    Function("sha256", 1, 1, hash::<Sha256>),
    Function("sha512", 1, 1, hash::<Sha512>),
    Function("bcrypt", 1, 2, chance::bcrypt),
    Function("uuidv4", 0, 0, chance::uuid_v4),
    Function("uuidv5", 2, 2, uuid_v5),
    Function("rsadecrypt", 2, 2, |a| {
        let (text, key) = (from_base64(&a.text(0)?)?, a.text(1)?);
        // About as long as the steps that it counts.
        let budget = &a.site.globals.budget;
        budget.steps(a.site.span, 100_000).map_err(|fault| fault.message)?;
        rsa::decrypt(&text, &key).map(|bytes| Value::text(String::from_utf8_lossy(&bytes)))
    }),
];

/// Bits that are left over at the end mean nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    // Line breaks in the text mean nothing.
    let text = text.replace(['\r', '\n'], "");
    BASE64.decode(text).map_err(|_| "this is not base64".to_owned())
}

fn hash<D: Digest>(a: &Args<'_>) -> Result<Value, String> {
    let hash = D::digest(a.text(0)?);
    Ok(Value::text(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// As in a query: a space is a plus.
fn url_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The known namespaces differ in one digit.
const NAMESPACES: [(&str, &str); 4] = [
    ("dns", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ("url", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"),
    ("oid", "6ba7b812-9dad-11d1-80b4-00c04fd430c8"),
    ("x500", "6ba7b814-9dad-11d1-80b4-00c04fd430c8"),
];

fn uuid_v5(a: &Args<'_>) -> Result<Value, String> {
    let (namespace, name) = (a.text(0)?, a.text(1)?);
    let known = NAMESPACES.iter().find(|(name, _)| *name == namespace).map(|(_, uuid)| *uuid);
    let bytes = uuid_bytes(known.unwrap_or(&namespace)).ok_or_else(|| {
        format!("the namespace must be dns, url, oid, x500 or a UUID, it is `{namespace}`")
    })?;
    let hash = Sha1::new().chain_update(bytes).chain_update(name).finalize();
    Ok(Value::text(chance::uuid(&hash, 5)))
}

/// With or without dashes, in braces or behind `urn:uuid:`.
fn uuid_bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let dashes = text.match_indices('-').map(|(at, _)| at);
    let digits = text.replace('-', "");
    if digits.len() != 32 || !(text.len() == 32 || dashes.eq([8, 13, 18, 23])) {
        return None;
    }
    let pairs = (0..16).map(|at| digits.get(at * 2..at * 2 + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
