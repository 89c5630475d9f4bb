//! Answers as JSON, and bodies as they come in.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The largest body of a request that is not a plan, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;
/// The largest body of a plan request, in bytes.
pub(crate) const PLAN_BODY_LIMIT: usize = 64 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// `value` as JSON: compact, or indented by four with a final line feed.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Result<Response, Refusal> {
    let mut bytes = Vec::with_capacity(256);
    let written = if pretty {
        let style = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut to = serde_json::Serializer::with_formatter(&mut bytes, style);
        let written = value.serialize(&mut to);
        bytes.push(b'\n');
        written
    } else {
        serde_json::to_writer(&mut bytes, value)
    };
    written
        .map_err(|error| Refusal::unavailable(format!("the answer cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// Adds a header whose value is made here, never by a client.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(name, value);
    }
}

/// Reads a body of at most `limit` bytes as JSON; an empty one is the default.
pub(crate) async fn read_json<T>(body: Body, limit: usize) -> Result<T, Refusal>
where
    T: DeserializeOwned + Default,
{
    let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await;
    let bytes = read
        .map_err(|_| Refusal::invalid("the request's body did not arrive in time"))?
        .map_err(|error| match is_too_large(&error) {
            true => Refusal::too_large(format!("the request's body is larger than {limit} bytes")),
            false => Refusal::invalid("the request's body could not be read"),
        })?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::invalid(format!("Request decode failed: {error}")))
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1024).await.expect("a body");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn answers_are_compact_unless_asked() {
        let value = serde_json::json!({"A": [1]});
        assert_eq!(text(json(&value, false).expect("json")).await, "{\"A\":[1]}");
        assert_eq!(
            text(json(&value, true).expect("json")).await,
            "{\n    \"A\": [\n        1\n    ]\n}\n"
        );
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let refused = read_json::<Vec<u8>>(Body::from("[1,2,3,4]"), 4).await;
        assert_eq!(refused.map_err(|refusal| refusal.status().as_u16()), Err(413));
        assert_eq!(read_json::<Vec<u8>>(Body::from("[1]"), 4).await, Ok(vec![1]));
        assert_eq!(read_json::<Vec<u8>>(Body::empty(), 4).await, Ok(vec![]));
        let refused = read_json::<Vec<u8>>(Body::from("{"), 4).await;
        assert_eq!(refused.map_err(|refusal| refusal.status().as_u16()), Err(400));
    }
}
