//! OpenTelemetry's logs in the JSON encoding of OTLP.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use driver::LogStream;
use serde::Serialize;

use super::batch::Record;

/// An OTLP receiver.
#[derive(Clone, Debug)]
pub struct OtlpOptions {
    /// `http://HOST:4318`, or https; `/v1/logs` is added.
    pub endpoint: String,
    /// A file with a header in each line, `Name: value`, such as a token. Read for each batch, so that it may change.
    pub headers_file: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_logs: Vec<ResourceLogs<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Resource<'a>,
    scope_logs: [ScopeLogs<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    scope: Scope,
    log_records: Vec<LogRecord<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
}

/// 64-bit numbers are texts in this encoding.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord<'a> {
    observed_time_unix_nano: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity_number: Option<u8>,
    body: Value<'a>,
    attributes: [Attribute<'a>; 1],
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Value<'a> {
    StringValue(std::borrow::Cow<'a, str>),
    /// What is no UTF-8.
    BytesValue(String),
}

fn attribute<'a>(key: &'static str, value: impl Into<std::borrow::Cow<'a, str>>) -> Attribute<'a> {
    Attribute { key, value: Value::StringValue(value.into()) }
}

/// The body of a request. Neighbouring lines of one task share what is said about it.
pub(super) fn request(node: &str, records: &[Record]) -> Vec<u8> {
    let same = |a: &Record, b: &Record| a.source == b.source;
    let resource_logs = records.chunk_by(same).filter_map(|records| {
        let source = &records.first()?.source;
        let attributes = vec![
            attribute("service.name", &*source.task),
            attribute("service.namespace", &*source.job),
            attribute("service.instance.id", source.alloc.to_string()),
            attribute("host.name", node),
            attribute("herder.job", &*source.job),
            attribute("herder.group", &*source.group),
            attribute("herder.task", &*source.task),
            attribute("herder.alloc", source.alloc.to_string()),
            attribute("herder.node", node),
            attribute("herder.commit", &*source.commit),
        ];
        let log_records = records.iter().map(record).collect();
        let scope_logs = [ScopeLogs { scope: Scope { name: "herder" }, log_records }];
        Some(ResourceLogs { resource: Resource { attributes }, scope_logs })
    });
    let request = Request { resource_logs: resource_logs.collect() };
    serde_json::to_vec(&request).unwrap_or_default()
}

fn record(record: &Record) -> LogRecord<'_> {
    LogRecord {
        observed_time_unix_nano: record.read_at.0.to_string(),
        // A task's streams say nothing certain about severity; our own words are a warning.
        severity_number: record.ours.then_some(13),
        body: match std::str::from_utf8(&record.body) {
            Ok(text) => Value::StringValue(text.into()),
            Err(_) => Value::BytesValue(STANDARD.encode(&record.body)),
        },
        attributes: [attribute(
            "log.iostream",
            match record.stream {
                LogStream::Stdout => "stdout",
                LogStream::Stderr => "stderr",
            },
        )],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::tests::source;
    use super::*;

    #[test]
    fn a_request_is_as_otlp_wants_it() {
        let web = Arc::new(source("web", "/x".as_ref()));
        let line = |source: &Arc<super::super::LogSource>, body: &[u8], ours| Record {
            source: Arc::clone(source),
            stream: LogStream::Stdout,
            body: body.to_owned(),
            read_at: model::Timestamp(1_795_204_801_123_456_789),
            ours,
            end: driver::LogPosition::default(),
        };
        let other = Arc::new(source("other", "/x".as_ref()));
        let records =
            [line(&web, b"{\"a\": 1}", false), line(&web, b"\xff", true), line(&other, b"", false)];
        let sent: serde_json::Value =
            serde_json::from_slice(&request("n1", &records)).expect("JSON");
        let groups = sent["resourceLogs"].as_array().expect("groups");
        assert_eq!(groups.len(), 2);
        let text = |text: &str| json!({"stringValue": text});
        let attributes = groups[0]["resource"]["attributes"].as_array().expect("attributes");
        let of = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute["key"] == key);
            found.expect(key)["value"].clone()
        };
        for (key, value) in [
            ("service.name", "web"),
            ("herder.job", "shop"),
            ("herder.group", "app"),
            ("herder.task", "web"),
            ("herder.node", "n1"),
            ("herder.commit", "c0ffee"),
            ("herder.alloc", &web.alloc.to_string()),
        ] {
            assert_eq!(of(key), text(value), "{key}");
        }
        let stdout = json!([{"key": "log.iostream", "value": {"stringValue": "stdout"}}]);
        assert_eq!(
            groups[0]["scopeLogs"],
            json!([{"scope": {"name": "herder"}, "logRecords": [
                {"observedTimeUnixNano": "1795204801123456789",
                 "body": {"stringValue": "{\"a\": 1}"}, "attributes": stdout},
                {"observedTimeUnixNano": "1795204801123456789", "severityNumber": 13,
                 "body": {"bytesValue": "/w=="}, "attributes": stdout},
            ]}])
        );
    }
}
