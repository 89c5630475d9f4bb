//! Tests against a server that answers from a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use model::wire::{DeploymentView, PlanRequest};
use model::{AllocId, DeploymentId, seeded_uuid};

use crate::{Client, ClientError, Listing, LogQuery};

/// Answers one connection per entry and hands back what it was asked: request line, headers and body.
fn stub(answers: Vec<String>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = std::thread::spawn(move || {
        answers
            .into_iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
                let mut asked = String::new();
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a line");
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    asked.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the body");
                asked.push_str(&String::from_utf8_lossy(&body));
                stream.write_all(answer.as_bytes()).expect("sent");
                asked
            })
            .collect()
    });
    (Client::new(&address, Some("s3cret".to_owned())).expect("an address"), server)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-Nomad-Index: 42\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn alloc(seed: &[u8]) -> AllocId {
    AllocId::new(seeded_uuid(&[seed]))
}

#[test]
fn reads_carry_the_index_the_token_and_the_wait() {
    let (client, server) = stub(vec![answer("200 OK", "[]")]);
    let jobs = client.wait(7, Duration::from_secs(3)).jobs(&Listing::default()).expect("a list");
    assert!(jobs.is_empty());
    assert_eq!(jobs.index, 42);
    let asked = server.join().expect("no panic").concat();
    assert!(asked.starts_with("GET /v1/jobs?index=7&wait=3000ms HTTP/1.1"), "{asked}");
    assert!(asked.to_lowercase().contains("authorization: bearer s3cret"), "{asked}");
}

#[test]
fn the_token_is_not_in_debug_output() {
    let client = Client::new("", Some("s3cret".to_owned())).expect("an address");
    assert!(!format!("{client:?}").contains("s3cret"));
}

#[test]
fn refusals_are_told_apart() {
    let (client, server) = stub(vec![
        answer("404 Not Found", "job not found"),
        answer("403 Forbidden", "not from here"),
        answer("500 Internal Server Error", "No cluster leader"),
        answer("200 OK", "<html>"),
    ]);
    assert!(client.job("a/b").is_err_and(|error| error.is_not_found()));
    let refused = client.job("x").expect_err("refused");
    assert_eq!(refused, ClientError::Refused { status: 403, text: "not from here".to_owned() });
    let failed = client.leader().expect_err("failed").to_string();
    assert!(failed.ends_with("failed (500): No cluster leader"), "{failed}");
    assert!(matches!(client.peers(), Err(ClientError::Malformed { .. })));
    let asked = server.join().expect("no panic");
    assert!(asked[0].starts_with("GET /v1/job/a%2Fb HTTP/1.1"), "{}", asked[0]);
}

#[test]
fn nobody_at_home_is_said_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let client = Client::new(&address, None).expect("an address");
    let error = client.leader().expect_err("nobody listens").to_string();
    assert!(error.starts_with(&format!("cannot reach the agent at http://{address}: ")), "{error}");
    assert!(error.contains("is it running?"), "{error}");
}

#[test]
fn silence_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let client = Client::new(&address, None).expect("an address");
    let error = client.with_timeout(Duration::from_millis(50)).leader().expect_err("silence");
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
}

#[test]
fn prefixes_name_one_thing_or_none() {
    let row = |id: AllocId, name: &str| serde_json::json!({"ID": id, "EvalID": id, "NodeID": id, "Name": name});
    let (first, second) = (alloc(b"a"), alloc(b"b"));
    let both = serde_json::json!([row(first, "web.app[0]"), row(second, "web.app[1]")]).to_string();
    let one = serde_json::json!([row(first, "web.app[0]")]).to_string();
    let (client, server) =
        stub(vec![answer("200 OK", "[]"), answer("200 OK", &both), answer("200 OK", &one)]);
    assert!(client.alloc_by_prefix("ab").is_err_and(|error| error.is_not_found()));
    let words = client.alloc_by_prefix("ab").expect_err("two").to_string();
    assert!(words.starts_with("`ab` is ambiguous") && words.contains("web.app[1]"), "{words}");
    assert_eq!(client.alloc_id("ab"), Ok(first));
    // A whole ID costs no request.
    assert_eq!(client.alloc_id(&second.to_string()), Ok(second));
    assert_eq!(server.join().expect("no panic").len(), 3);
}

#[test]
fn changes_send_what_the_api_reads() {
    let id = DeploymentId::new(seeded_uuid(&[b"d"]));
    let (client, server) = stub(vec![
        answer("200 OK", "{\"EvalID\":\"\",\"DeploymentModifyIndex\":9}"),
        answer("200 OK", "{\"Repo\":\"r\",\"Changes\":true}"),
    ]);
    assert_eq!(client.promote(id, &[]).expect("promoted").deployment_modify_index, 9);
    let request = PlanRequest { head: Some(true), ..PlanRequest::default() };
    assert!(client.plan(&request).expect("a plan").changes);
    let asked = server.join().expect("no panic");
    assert!(asked[0].starts_with(&format!("POST /v1/deployment/promote/{id} ")), "{}", asked[0]);
    assert!(asked[0].contains("\"All\":true"), "{}", asked[0]);
    assert!(asked[1].ends_with("{\"Head\":true}"), "{}", asked[1]);
}

#[test]
fn logs_are_read_as_they_come() {
    let body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n";
    let (client, server) = stub(vec![body.to_owned()]);
    let query = LogQuery { task: "web".to_owned(), follow: true, ..LogQuery::default() };
    let mut text = String::new();
    let mut stream = client.logs(alloc(b"a"), &query).expect("a stream");
    stream.read_to_string(&mut text).expect("text");
    assert_eq!(text, "one\ntwo\n");
    let asked = server.join().expect("no panic").concat();
    assert!(asked.contains("plain=true&type=stdout&origin=start&offset=0&follow=true&task=web"));
}

#[test]
fn an_absent_deployment_is_none() {
    let (client, server) = stub(vec![answer("200 OK", "null")]);
    let none: Option<DeploymentView> = client.job_deployment("x").expect("an answer").into_value();
    assert_eq!(none, None);
    server.join().expect("no panic");
}
