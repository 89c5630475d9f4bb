//! The router, as Consul's clients test it.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::fixture::{app, ask_discovery, discover, leaderless};

#[tokio::test]
async fn answers_have_consuls_shapes() {
    let app = app();
    for (name, path) in [
        ("datacenters", "/v1/catalog/datacenters"),
        ("nodes", "/v1/catalog/nodes"),
        ("services", "/v1/catalog/services"),
        ("service", "/v1/catalog/service/web"),
        ("node", "/v1/catalog/node/n1"),
        ("health_service", "/v1/health/service/web"),
        ("health_checks", "/v1/health/checks/web"),
        ("health_state", "/v1/health/state/any"),
        ("health_node", "/v1/health/node/n1"),
        ("self", "/v1/agent/self"),
    ] {
        let answer = discover(&app, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        insta::assert_snapshot!(name, answer.pretty());
    }
}

#[tokio::test]
async fn every_read_carries_the_headers() {
    let app = app();
    for path in ["/v1/health/service/web", "/v1/health/service/nope", "/v1/catalog/services"] {
        let answer = discover(&app, &format!("{path}?stale=&wait=120000ms")).await;
        let index: u64 = answer.header("x-consul-index").parse().expect("an index");
        assert!(index > 0, "{path}");
        assert_eq!(answer.header("x-consul-knownleader"), "true");
        assert_eq!(answer.header("x-consul-lastcontact"), "0");
        assert_eq!(answer.header("x-consul-effective-consistency"), "stale");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn what_must_be_consistent_is_not_answered_without_a_leader() {
    let answer = discover(&app(), "/v1/health/service/web?consistent").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("x-consul-effective-consistency"), "consistent");
    let app = leaderless();
    let answer = discover(&app, "/v1/health/service/web?consistent").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text.starts_with("No cluster leader"), "{}", answer.text);
    let answer = discover(&app, "/v1/health/service/web?stale").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("x-consul-knownleader"), "false");
    assert_eq!(answer.header("x-consul-lastcontact"), "1234");
}

#[tokio::test]
async fn errors_are_consuls_words() {
    let app = app();
    for (path, status, words) in [
        ("/v1/nope", 404, "Invalid URL path: not a recognized HTTP API endpoint"),
        ("/v1/health/service/", 400, "Missing service name"),
        ("/v1/catalog/node/", 400, "Missing node name"),
        ("/v1/health/state/", 400, "Missing check state"),
        ("/v1/catalog/services?index=x", 400, "Invalid index"),
        ("/v1/catalog/services?index=1&wait=soon", 400, "Invalid wait time"),
        ("/v1/health/service/web?passing=perhaps", 400, "Invalid value for ?passing"),
        ("/v1/catalog/nodes?dc=dc9", 500, "No path to datacenter"),
        (
            "/v1/catalog/nodes?stale&consistent",
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
    ] {
        let answer = discover(&app, path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (status, words), "{path}");
    }
    let send = |method: &str| {
        let request = Request::builder().method(method).uri("/v1/catalog/nodes");
        ask_discovery(&app, request.body(Body::empty()).expect("a request"))
    };
    let refused = send("PUT").await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.text, "method PUT not allowed");
    assert_eq!(refused.header("allow"), "OPTIONS,GET");
    let options = send("OPTIONS").await;
    assert_eq!((options.status, options.header("allow")), (StatusCode::OK, "OPTIONS,GET"));
}

#[tokio::test]
async fn what_is_not_there_is_empty() {
    let app = app();
    for (path, body) in [
        ("/v1/health/service/nope", "[]"),
        ("/v1/catalog/service/nope", "[]"),
        ("/v1/catalog/node/nope", "null"),
        ("/v1/health/node/nope", "[]"),
        ("/v1/health/connect/web", "[]"),
        ("/v1/health/service/web?peer=other", "[]"),
        ("/v1/health/service/web?tag=nope", "[]"),
    ] {
        assert_eq!(discover(&app, path).await.text, body, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_ends_with_its_wait() {
    let app = app();
    let seen = discover(&app, "/v1/health/service/web").await.header("x-consul-index").to_owned();
    let begin = tokio::time::Instant::now();
    let path = format!("/v1/health/service/web?index={seen}&wait=8s");
    assert_eq!(discover(&app, &path).await.header("x-consul-index"), seen);
    assert_eq!(begin.elapsed(), std::time::Duration::from_secs(8));
}
