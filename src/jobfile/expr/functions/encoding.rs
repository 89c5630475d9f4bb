//! Functions that write values as text, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha512};

use super::json::encode;
use super::{Args, Function};
use crate::expr::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("jsonencode", 1, 1, |a| Ok(Value::String(encode(a.value(0))))),
    Function("jsondecode", 1, 1, |a| {
        let json = serde_json::from_str(&a.text(0)?);
        json.map(Value::from_json).map_err(|error| format!("this is not JSON: {error}"))
    }),
    Function("yamlencode", 1, 1, |a| {
        let yaml = serde_yaml::to_string(&a.value(0).to_json());
        yaml.map(Value::text).map_err(|error| error.to_string())
    }),
    Function("yamldecode", 1, 1, yaml_decode),
    Function("base64encode", 1, 1, |a| Ok(Value::text(STANDARD.encode(a.text(0)?)))),
    Function("base64decode", 1, 1, |a| {
        // Line breaks in the text mean nothing.
        let text = a.text(0)?.replace(['\r', '\n'], "");
        let bytes = STANDARD.decode(text).map_err(|_| "this is not base64".to_owned())?;
        let text = String::from_utf8(bytes).map_err(|_| "this is not text".to_owned())?;
        Ok(Value::String(text))
    }),
    Function("urlencode", 1, 1, |a| Ok(Value::text(url_encode(&a.text(0)?)))),
    Function("sha256", 1, 1, |a| Ok(Value::text(hex(&Sha256::digest(a.text(0)?))))),
    Function("sha512", 1, 1, |a| Ok(Value::text(hex(&Sha512::digest(a.text(0)?))))),
];

/// Reads YAML with the same budgets as a job file in YAML.
fn yaml_decode(a: &Args<'_>) -> Result<Value, String> {
    let text = a.text(0)?;
    let node =
        crate::yaml::read(&text).map_err(|fault| format!("this is not YAML: {}", fault.message))?;
    Ok(node.map_or(Value::Null, |node| node.to_value()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
