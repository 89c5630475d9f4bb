//! Other languages and digests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::de::DeserializeSeed as _;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{Arguments, Context, Function, Problem, Result};
use crate::read::bounded;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("base64Encode", 1, 1, |context, a| context.text(STANDARD.encode(a.text(0)?))),
    Function("base64URLEncode", 1, 1, |context, a| context.text(URL_SAFE.encode(a.text(0)?))),
    Function("base64Decode", 1, 1, |context, a| decoded(context, STANDARD.decode(a.text(0)?))),
    Function("base64URLDecode", 1, 1, |context, a| decoded(context, URL_SAFE.decode(a.text(0)?))),
    Function("md5sum", 1, 1, |context, a| context.text(hex(&md5::Md5::digest(a.text(0)?)))),
    Function("sha256Hex", 1, 1, |context, a| context.text(hex(&Sha256::digest(a.text(0)?)))),
    Function("hmacSHA256Hex", 2, 2, |context, a| {
        context.text(hex(&hmac(a.text(1)?.as_bytes(), a.text(0)?.as_bytes())))
    }),
    Function("parseJSON", 1, 1, |context, a| {
        let text = a.text(0)?;
        if text.is_empty() {
            return Ok(Value::map(std::collections::BTreeMap::new()));
        }
        let read = bounded(|seed| {
            let mut from = serde_json::Deserializer::from_str(text);
            let value = seed.deserialize(&mut from)?;
            from.end().map(|()| value)
        });
        let value = read.map_err(|error| not(a, "JSON", error.line(), error.column()))?;
        context.built(value)
    }),
    Function("parseYAML", 1, 1, |context, a| {
        let text = a.text(0)?;
        if text.is_empty() {
            return Ok(Value::map(std::collections::BTreeMap::new()));
        }
        let read = bounded(|seed| seed.deserialize(serde_yaml::Deserializer::from_str(text)));
        let value = read.map_err(|error| {
            let (line, column) =
                error.location().map_or((1, 1), |place| (place.line(), place.column()));
            not(a, "YAML", line, column)
        })?;
        context.built(value)
    }),
    Function("toJSON", 1, 1, |context, a| {
        let json = json(context, a)?;
        context.text(for_html(&json.to_string()))
    }),
    Function("toUnescapedJSON", 1, 1, |context, a| {
        let json = json(context, a)?;
        context.text(json.to_string())
    }),
    Function("toJSONPretty", 1, 1, |context, a| {
        let text = pretty(context, a)?;
        context.text(for_html(&text))
    }),
    Function("toUnescapedJSONPretty", 1, 1, |context, a| {
        let text = pretty(context, a)?;
        context.text(text)
    }),
    Function("toYAML", 1, 1, |context, a| {
        let json = json(context, a)?;
        let text = serde_yaml::to_string(&json)
            .map_err(|_| Problem::from("the value cannot be written as YAML"))?;
        context.text(text.trim_end())
    }),
];

fn json(context: &mut Context<'_>, a: &Arguments<'_>) -> Result<Json> {
    context.fuel.spend(a.value(0).weigh()?)?;
    Ok(a.value(0).to_json())
}

fn pretty(context: &mut Context<'_>, a: &Arguments<'_>) -> Result<String> {
    let json = json(context, a)?;
    serde_json::to_string_pretty(&json).map_err(|_| "the value cannot be written as JSON".into())
}

/// As Go writes JSON: safe within a page. The characters stand in texts only.
fn for_html(json: &str) -> String {
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

fn not(a: &Arguments<'_>, language: &str, line: usize, column: usize) -> Problem {
    let name = a.name;
    Problem::Words(format!(
        "`{name}`: the text is no {language} that can be read, at its line {line}, column {column}"
    ))
}

fn decoded(
    context: &mut Context<'_>,
    bytes: std::result::Result<Vec<u8>, base64::DecodeError>,
) -> Result {
    let bytes = bytes.map_err(|_| Problem::from("the text is not base64"))?;
    match String::from_utf8(bytes) {
        Ok(text) => context.text(text),
        Err(_) => Err("what the base64 holds is no text".into()),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut padded = [0_u8; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, parts: &[&[u8]]| {
        let mut hash = Sha256::new();
        hash.update(padded.map(|byte| byte ^ pad));
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize()
    };
    let inner = keyed(0x36, &[message]);
    keyed(0x5c, &[&inner]).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_the_standard() {
        // RFC 4231, cases 2 and 6.
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
