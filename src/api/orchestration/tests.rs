//! The router, from a request to an answer, over a state that is built by commands.

use axum::http::StatusCode;

use crate::fixture::{App, alloc_id, app, call, deployment_id, get, leaderless, node_id, post};
use crate::params::Stopping;

#[tokio::test]
async fn lists_and_objects_have_nomads_shapes() {
    let app = app();
    for (name, path) in [
        ("jobs", "/v1/jobs".to_owned()),
        ("job", "/v1/job/team%2Fweb".to_owned()),
        ("summary", "/v1/job/team%2Fweb/summary".to_owned()),
        ("versions", "/v1/job/team%2Fweb/versions?diffs=true".to_owned()),
        ("allocations", "/v1/allocations?resources=true".to_owned()),
        ("allocation", format!("/v1/allocation/{}", alloc_id())),
        ("deployments", "/v1/deployments".to_owned()),
        ("evaluations", "/v1/job/team%2Fweb/evaluations".to_owned()),
        ("nodes", "/v1/nodes".to_owned()),
        ("node", format!("/v1/node/{}", node_id())),
        ("services", "/v1/services".to_owned()),
        ("service", "/v1/service/web".to_owned()),
        ("gitops_status", "/v1/gitops/status".to_owned()),
        ("revisions", "/v1/gitops/revisions".to_owned()),
        ("explain_job", "/v1/gitops/explain/job/team%2Fweb".to_owned()),
        ("explain_allocation", format!("/v1/gitops/explain/allocation/{}", alloc_id())),
        ("self", "/v1/agent/self".to_owned()),
        ("members", "/v1/agent/members".to_owned()),
        ("loops", "/v1/agent/loops".to_owned()),
        ("raft_configuration", "/v1/operator/raft/configuration".to_owned()),
        ("lost_nodes", "/v1/operator/lost-nodes".to_owned()),
        ("scheduler", "/v1/operator/scheduler/configuration".to_owned()),
    ] {
        let answer = get(&app, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        insta::assert_snapshot!(name, answer.pretty());
    }
}

#[tokio::test]
async fn clients_read_back_what_is_written() {
    use model::wire;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// Reads an answer as the client does, and holds that nothing was lost.
    async fn same<T: Serialize + DeserializeOwned>(app: &App, path: &str) {
        let answer = get(app, path).await;
        let read: T = serde_json::from_str(&answer.text)
            .unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.text));
        assert_eq!(serde_json::to_value(&read).expect("serialises"), answer.json(), "{path}");
    }

    let app = app();
    same::<Vec<wire::JobListStub>>(&app, "/v1/jobs").await;
    same::<wire::JobView>(&app, "/v1/job/team%2Fweb").await;
    same::<wire::JobVersions>(&app, "/v1/job/team%2Fweb/versions?diffs=true").await;
    same::<Vec<wire::AllocListStub>>(&app, "/v1/allocations?resources=true").await;
    same::<wire::AllocationView>(&app, &format!("/v1/allocation/{}", alloc_id())).await;
    same::<Vec<wire::AllocationView>>(&app, &format!("/v1/node/{}/allocations", node_id())).await;
    same::<Option<wire::DeploymentView>>(&app, "/v1/job/team%2Fweb/deployment").await;
    let placed = format!("/v1/deployment/allocations/{}", deployment_id());
    same::<Vec<wire::AllocListStub>>(&app, &placed).await;
    same::<Vec<wire::EvaluationView>>(&app, "/v1/evaluations").await;
    same::<wire::NodeView>(&app, &format!("/v1/node/{}", node_id())).await;
    same::<Vec<wire::ServiceList>>(
        &app,
        "/v1/services?filter=Tags+contains+%22traefik.enable%3Dtrue%22",
    )
    .await;
    same::<wire::GitopsStatus>(&app, "/v1/gitops/status").await;
    same::<Vec<wire::RevisionEntry>>(&app, "/v1/gitops/revisions?limit=1").await;
    same::<wire::JobExplanation>(&app, "/v1/gitops/explain/job/team%2Fweb?group=app").await;
    let told = format!("/v1/gitops/explain/allocation/{}", alloc_id());
    same::<wire::AllocationExplained>(&app, &told).await;
    same::<wire::AgentSelf>(&app, "/v1/agent/self").await;
    same::<wire::AgentHealth>(&app, "/v1/agent/health").await;
    same::<wire::AgentMembers>(&app, "/v1/agent/members").await;
    same::<String>(&app, "/v1/status/leader").await;
    same::<Vec<String>>(&app, "/v1/status/peers").await;
    same::<Vec<wire::LoopView>>(&app, "/v1/agent/loops").await;
    same::<wire::RaftConfiguration>(&app, "/v1/operator/raft/configuration").await;
    same::<wire::LostNodes>(&app, "/v1/operator/lost-nodes").await;
    let scheduler = "/v1/operator/scheduler/configuration";
    same::<wire::SchedulerConfigResponse>(&app, scheduler).await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_nomads_words() {
    let app = app();
    let nobody = "00000000-0000-0000-0000-000000000000";
    for (path, words) in [
        ("/v1/job/nope".to_owned(), "job not found"),
        ("/v1/job/nope/summary".to_owned(), "job not found"),
        ("/v1/job/nope/versions".to_owned(), "job versions not found"),
        (format!("/v1/allocation/{nobody}"), "alloc not found"),
        ("/v1/allocation/0000".to_owned(), "alloc not found"),
        (format!("/v1/node/{nobody}"), "node not found"),
        (format!("/v1/evaluation/{nobody}"), "eval not found"),
        (format!("/v1/deployment/{nobody}"), "deployment not found"),
        ("/v1/gitops/explain/job/nope".to_owned(), "job not found"),
        (
            "/v1/gitops/explain/job/team%2Fweb?group=nope".to_owned(),
            "job team/web has no group \"nope\"",
        ),
        (format!("/v1/gitops/explain/allocation/{nobody}"), "alloc not found"),
        ("/v1/nonsense".to_owned(), "there is no endpoint /v1/nonsense"),
    ] {
        let answer = get(&app, &path).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_FOUND, words), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    for path in ["/v1/job/nope/allocations", "/v1/job/nope/deployments", "/v1/service/nope"] {
        assert_eq!(get(&app, path).await.text, "[]", "{path}");
    }
    assert_eq!(get(&app, "/v1/job/nope/deployment").await.text, "null");
    assert_eq!(post(&app, "/v1/jobs", "{}").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn reads_say_how_fresh_they_are() {
    let app = app();
    let answer = get(&app, "/v1/jobs?pretty").await;
    assert_ne!(answer.header("x-nomad-index"), "0");
    assert_eq!(answer.header("x-nomad-knownleader"), "true");
    assert_eq!(answer.header("x-nomad-lastcontact"), "0");
    assert!(answer.text.starts_with("[\n    {"));
    assert!(answer.text.ends_with('\n'));
}

#[tokio::test]
async fn what_must_be_consistent_is_not_answered_without_a_leader() {
    let app = app();
    let answer = get(&app, "/v1/jobs?consistent").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("x-nomad-lastcontact"), "0");
    let app = leaderless();
    for path in ["/v1/jobs", "/v1/nodes", "/v1/allocations"] {
        let answer = get(&app, &format!("{path}?consistent")).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(answer.text.starts_with("No cluster leader"), "{}", answer.text);
        // Its own copy it shows to everybody else, and says how old it may be.
        for ask in ["", "?stale", "?consistent=false"] {
            let answer = get(&app, &format!("{path}{ask}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}{ask}");
            assert_eq!(answer.header("x-nomad-knownleader"), "false");
            assert_eq!(answer.header("x-nomad-lastcontact"), "1234");
        }
    }
}

#[tokio::test]
async fn lists_are_narrowed_down() {
    let app = app();
    let id = alloc_id().to_string();
    let found = get(&app, &format!("/v1/allocations?prefix={}", &id[..5])).await.json();
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    for path in ["/v1/allocations?prefix=zz", "/v1/jobs?namespace=other", "/v1/jobs?prefix=x"] {
        assert_eq!(get(&app, path).await.text, "[]", "{path}");
    }
    let refused = get(&app, "/v1/jobs?filter=ID").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_ends_with_its_wait() {
    let app = app();
    let begin = tokio::time::Instant::now();
    let seen = get(&app, "/v1/jobs").await.header("x-nomad-index").to_owned();
    let again = get(&app, &format!("/v1/jobs?index={seen}&wait=10s")).await;
    assert_eq!(begin.elapsed(), std::time::Duration::from_secs(10));
    assert_eq!(again.header("x-nomad-index"), seen);
    assert_eq!(get(&app, "/v1/jobs?index=x").await.text, "Invalid index");
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_ends_when_the_agent_stops() {
    let app = app();
    let stopping = Stopping::default();
    stopping.0.cancel();
    let begin = tokio::time::Instant::now();
    let request = axum::http::Request::get("/v1/jobs?index=999&wait=10s").extension(stopping);
    let answer = call(&app, request.body(axum::body::Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(begin.elapsed(), std::time::Duration::ZERO);
}

#[tokio::test]
async fn deployments_are_promoted_and_failed() {
    let app = app();
    let id = deployment_id();
    let promoted = post(&app, &format!("/v1/deployment/promote/{id}"), "{\"All\":true}").await;
    assert_eq!(promoted.json()["DeploymentModifyIndex"], 77);
    assert_eq!(promoted.header("x-nomad-index"), "77");
    let body = format!("{{\"DeploymentID\":\"{id}\"}}");
    let failed = post(&app, &format!("/v1/deployment/fail/{id}"), &body).await;
    assert_eq!(failed.status, StatusCode::OK);
    for (path, body) in [
        (format!("/v1/deployment/promote/{id}"), "{}".to_owned()),
        (format!("/v1/deployment/promote/{id}"), "{\"All\":true,\"Groups\":[\"a\"]}".to_owned()),
        (format!("/v1/deployment/fail/{id}"), "{\"DeploymentID\":\"other\"}".to_owned()),
        (format!("/v1/deployment/fail/{id}"), "{".to_owned()),
        ("/v1/gitops/plan".to_owned(), "{}".to_owned()),
        ("/v1/gitops/plan".to_owned(), "{\"Head\":true,\"Rev\":\"x\"}".to_owned()),
    ] {
        let refused = post(&app, &path, &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path} {body}: {}", refused.text);
    }
    let planned = post(&app, "/v1/gitops/plan", "{\"Head\":true}").await;
    assert_eq!(planned.json()["Repo"], "fleet");
    let checked = post(&app, "/v1/gitops/check", "").await;
    assert_eq!(checked.status, StatusCode::OK);
}

#[tokio::test]
async fn nodes_are_emptied_barred_and_removed() {
    let app = app();
    let node = format!("/v1/node/{}", node_id());
    let drain = "{\"DrainSpec\":{\"Deadline\":3600000000000,\"IgnoreSystemJobs\":true},\"Meta\":{\"a\":\"b\"}}";
    for (path, body, index) in [
        ("drain", drain, 81),
        ("drain", "{\"NodeID\":\"x\",\"DrainSpec\":{\"Deadline\":-1}}", 82),
        ("drain", "{\"DrainSpec\":null,\"MarkEligible\":true}", 83),
        ("drain", "{}", 84),
        ("eligibility", "{\"Eligibility\":\"eligible\"}", 85),
        ("eligibility", "{\"Eligibility\":\"ineligible\"}", 86),
        ("purge?force=true", "", 87),
    ] {
        let answer = post(&app, &format!("{node}/{path}"), body).await;
        assert_eq!(answer.json()["NodeModifyIndex"], index, "{path} {body}");
        assert_eq!(answer.header("x-nomad-index"), index.to_string());
    }
    for (path, body, status) in [
        ("eligibility", "{}", StatusCode::BAD_REQUEST),
        ("eligibility", "{\"Eligibility\":\"maybe\"}", StatusCode::BAD_REQUEST),
        ("purge", "", StatusCode::CONFLICT),
    ] {
        assert_eq!(post(&app, &format!("{node}/{path}"), body).await.status, status, "{path}");
    }
    let nobody = "/v1/node/00000000-0000-0000-0000-000000000000/drain";
    assert_eq!(post(&app, nobody, "{}").await.text, "node not found");
}

#[tokio::test]
async fn how_placement_chooses_is_changed_as_in_nomad() {
    let app = app();
    let path = "/v1/operator/scheduler/configuration";
    let spread = "{\"SchedulerAlgorithm\":\"spread\"}";
    for (query, body, index) in [("", spread, 90), ("?cas=0", spread, 90), ("?cas=0", "{}", 91)] {
        let answer = post(&app, &format!("{path}{query}"), body).await;
        let expected = serde_json::json!({ "Updated": true, "Index": index });
        assert_eq!(answer.json(), expected, "{query} {body}");
        assert_eq!(answer.header("x-nomad-index"), index.to_string());
    }
    let late = post(&app, &format!("{path}?cas=3"), spread).await;
    assert_eq!((late.status, &late.json()["Updated"]), (StatusCode::OK, &false.into()));
    for (query, body) in [
        ("?cas=x", "{}"),
        ("", "{\"SchedulerAlgorithm\":\"best\"}"),
        ("", "{\"PauseEvalBroker\":true}"),
        ("", "{\"RejectJobRegistration\":true}"),
    ] {
        let answer = post(&app, &format!("{path}{query}"), body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query} {body}: {}", answer.text);
    }
}

#[tokio::test]
async fn servers_are_named_by_address() {
    let app = app();
    assert_eq!(get(&app, "/v1/status/leader").await.text, "\"10.0.0.1:4647\"");
    let peers = get(&app, "/v1/status/peers").await.json();
    assert_eq!(peers, serde_json::json!(["10.0.0.1:4647", "10.0.0.2:4647", "10.0.0.3:4647"]));
}

#[tokio::test]
async fn leadership_is_handed_over_and_servers_are_removed() {
    let app = app();
    let transfer = "/v1/operator/raft/transfer-leadership";
    for (query, to, noop) in [
        ("", "10.0.0.2:4647", false),
        ("?id=3", "10.0.0.3:4647", false),
        ("?address=10.0.0.3:4647", "10.0.0.3:4647", false),
        ("?address=10.0.0.1:4647", "10.0.0.1:4647", true),
    ] {
        let answer = post(&app, &format!("{transfer}{query}"), "").await.json();
        assert_eq!(answer["From"]["Address"], "10.0.0.1:4647", "{query}");
        assert_eq!((&answer["To"]["Address"], &answer["Noop"]), (&to.into(), &noop.into()));
    }
    assert_eq!(post(&app, &format!("{transfer}?id=9"), "").await.status, StatusCode::NOT_FOUND);
    for (query, status) in [
        ("?id=2", StatusCode::OK),
        ("?address=10.0.0.3:4647", StatusCode::OK),
        ("", StatusCode::BAD_REQUEST),
        ("?id=2&address=10.0.0.3:4647", StatusCode::BAD_REQUEST),
        ("?id=9", StatusCode::NOT_FOUND),
        ("?id=1", StatusCode::CONFLICT),
    ] {
        let path = format!("/v1/operator/raft/peer{query}");
        let request = axum::http::Request::delete(&path).header("host", "127.0.0.1");
        let answer = call(&app, request.body(axum::body::Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
    }
    let approved = post(&app, "/v1/operator/lost-nodes/approve", "").await;
    assert_eq!(approved.json()["Approved"], 1);
}

#[tokio::test]
async fn the_owner_alone_gets_the_whole_state() {
    let app = app();
    for key in [None, Some("another key"), Some("the owner's kez")] {
        let mut request = axum::http::Request::get("/v1/operator/snapshot");
        if let Some(key) = key {
            request = request.header("x-herder-owner-key", key);
        }
        let refused = call(&app, request.body(axum::body::Body::empty()).expect("a request")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{key:?}");
        assert!(refused.text.contains("-data-dir"), "{}", refused.text);
    }
    let request = axum::http::Request::get("/v1/operator/snapshot")
        .header("x-herder-owner-key", "the owner's key");
    let router = crate::orchestration(app.clone());
    let request = request.body(axum::body::Body::empty()).expect("a request");
    let answer = tower::ServiceExt::oneshot(router, request).await.expect("routers do not fail");
    let file = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    let (info, body) = model::read_snapshot(&file).expect("a snapshot");
    assert_eq!((info.term, info.contents["Jobs"], info.contents["Nodes"]), (3, 1, 1));
    let state = state::State::from_bytes(body).expect("a state");
    assert_eq!((state.index(), state.jobs().count()), (info.index, 1));
    let refused = post(&app, "/v1/operator/snapshot", "x").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn foreign_pages_change_nothing() {
    let app = app();
    let path = format!("/v1/deployment/fail/{}", deployment_id());
    let send = async |headers: &[(&str, &str)]| {
        let mut request = axum::http::Request::post(&path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        call(&app, request.body(axum::body::Body::empty()).expect("a request")).await.status
    };
    assert_eq!(send(&[("host", "127.0.0.1:4646")]).await, StatusCode::OK);
    assert_eq!(send(&[("host", "n1:4646")]).await, StatusCode::OK);
    assert_eq!(send(&[("host", "rebound.example:4646")]).await, StatusCode::FORBIDDEN);
    let foreign = [("host", "127.0.0.1:4646"), ("origin", "https://evil.example")];
    assert_eq!(send(&foreign).await, StatusCode::FORBIDDEN);
    // Reading stays possible under any name, as Prometheus does it.
    let read = axum::http::Request::get("/v1/metrics").header("host", "herder.service.consul");
    let read = call(&app, read.body(axum::body::Body::empty()).expect("a request")).await;
    assert_eq!(read.status, StatusCode::OK);
}

#[tokio::test]
async fn logs_come_plain_and_framed() {
    let app = app();
    let path = format!("/v1/client/fs/logs/{}", alloc_id());
    let plain = get(&app, &format!("{path}?task=main&plain=true")).await;
    assert_eq!(plain.text, "one\ntwo\n");
    let framed = get(&app, &format!("{path}?task=main&follow=true")).await;
    let frames: Vec<&str> = framed.text.lines().collect();
    assert_eq!(
        frames,
        [
            r#"{"Data":"b25lCg==","File":"main.stdout.0","Offset":0}"#,
            r#"{"Data":"dHdvCg==","File":"main.stdout.0","Offset":4}"#,
        ]
    );
    for (query, status) in [
        ("?task=other", StatusCode::NOT_FOUND),
        ("?type=both", StatusCode::BAD_REQUEST),
        ("?origin=middle", StatusCode::BAD_REQUEST),
        ("?offset=-1", StatusCode::BAD_REQUEST),
        ("?type=stderr", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(get(&app, &format!("{path}{query}")).await.status, status, "{query}");
    }
}

#[tokio::test]
async fn logs_of_another_node_are_asked_for_there() {
    let mut app = app();
    elsewhere(&mut app);
    let path = format!("/v1/client/fs/logs/{}?task=main", alloc_id());
    let moved = get(&app, &path).await;
    assert_eq!(moved.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(moved.header("location"), format!("http://10.0.0.1:4646{path}"));
}

fn elsewhere(app: &mut App) {
    let mut agent = (*app.agent).clone();
    agent.node = std::sync::Arc::default();
    app.agent = agent.into();
}

#[tokio::test]
async fn metrics_have_two_forms() {
    let app = app();
    let text = get(&app, "/v1/metrics?format=prometheus").await;
    assert!(text.header("content-type").starts_with("application/openmetrics-text"));
    assert!(text.text.contains("herder_allocations{status=\"running\"} 1\n"), "{}", text.text);
    assert!(text.text.ends_with("# EOF\n"));
    for line in [
        "nomad_raft_appliedIndex 8",
        "nomad_raft_leader_lastContact 12",
        "nomad_raft_state_leader_total 1",
        "nomad_nomad_heartbeat_active 9",
        "herder_raft_leader_changes_total 2",
        "herder_raft_elections_total 4",
        "herder_nodes_loss_held 1",
    ] {
        assert!(text.text.lines().any(|have| have == line), "{line}: {}", text.text);
    }
    let json = get(&app, "/v1/metrics").await.json();
    assert!(json["Gauges"].as_array().is_some_and(|all| !all.is_empty()));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_can() {
    let app = app();
    let ask = |path: &str| {
        let request = axum::http::Request::get(path).header("accept-encoding", "gzip");
        call(&app, request.body(axum::body::Body::empty()).expect("a request"))
    };
    assert_eq!(ask("/v1/allocations?resources=true").await.header("content-encoding"), "gzip");
    assert_eq!(ask("/v1/regions").await.header("content-encoding"), "");
    let log = format!("/v1/client/fs/logs/{}?task=main&follow=true", alloc_id());
    assert_eq!(ask(&log).await.header("content-encoding"), "");
}

/// A node of which every answer can be told from all others.
struct Told(std::sync::Mutex<Vec<String>>);

impl Told {
    fn note(&self, what: String) -> Result<(), crate::LocalError> {
        self.0.lock().expect("nobody panics").push(what);
        Ok(())
    }
}

#[async_trait::async_trait]
impl crate::LocalNode for Told {
    async fn usage(
        &self,
        _: model::AllocId,
    ) -> Result<model::wire::AllocResourceUsage, crate::LocalError> {
        let mut usage = model::wire::AllocResourceUsage::default();
        usage.resource_usage.memory_stats.rss = 7;
        usage.tasks.insert("main".to_owned(), model::wire::TaskResourceUsage::default());
        Ok(usage)
    }

    async fn host(&self) -> model::wire::HostStats {
        model::wire::HostStats { uptime: 42, ..Default::default() }
    }

    async fn figures(&self) -> Vec<crate::LocalFigure> {
        vec![crate::LocalFigure {
            name: "nomad_client_uptime",
            help: "Seconds",
            labels: Vec::new(),
            value: 42.0,
            counter: false,
        }]
    }

    async fn restart(
        &self,
        _: model::AllocId,
        task: Option<String>,
    ) -> Result<(), crate::LocalError> {
        self.note(format!("restart {task:?}"))
    }

    async fn signal(
        &self,
        _: model::AllocId,
        task: Option<String>,
        signal: String,
    ) -> Result<(), crate::LocalError> {
        self.note(format!("signal {task:?} {signal}"))
    }

    async fn collect(&self, alloc: Option<model::AllocId>) -> Result<(), crate::LocalError> {
        self.note(format!("collect {}", alloc.is_some()))
    }

    async fn list(
        &self,
        _: model::AllocId,
        path: &str,
    ) -> Result<Vec<model::wire::AllocFileInfo>, crate::LocalError> {
        let name = path.to_owned();
        Ok(vec![model::wire::AllocFileInfo { name, ..Default::default() }])
    }

    async fn stat(
        &self,
        _: model::AllocId,
        _: &str,
    ) -> Result<model::wire::AllocFileInfo, crate::LocalError> {
        Err(crate::LocalError::Forbidden("reading a task's secrets is not allowed".to_owned()))
    }

    async fn read(
        &self,
        _: model::AllocId,
        path: &str,
        offset: u64,
        limit: Option<u64>,
    ) -> Result<crate::FilePieces, crate::LocalError> {
        let text = format!("{path} {offset} {limit:?}");
        Ok(Box::pin(futures_util::stream::iter([Ok(text.into())])))
    }
}

#[tokio::test]
async fn the_node_is_asked_and_told_what_clients_ask_and_tell() {
    let node = std::sync::Arc::new(Told(std::sync::Mutex::default()));
    let app = app().with_node(node.clone());
    let id = alloc_id();
    let stats = get(&app, &format!("/v1/client/allocation/{id}/stats")).await.json();
    assert_eq!(stats["ResourceUsage"]["MemoryStats"]["RSS"], 7);
    assert!(stats["Tasks"]["main"]["ResourceUsage"]["CpuStats"]["TotalTicks"].is_number());
    assert_eq!(get(&app, "/v1/client/stats").await.json()["Uptime"], 42);
    let metrics = get(&app, "/v1/metrics?format=prometheus").await.text;
    assert!(metrics.contains("\nnomad_client_uptime 42\n"), "{metrics}");
    let metrics = get(&app, "/v1/metrics").await.json();
    let gauges = metrics["Gauges"].as_array().expect("a list");
    assert!(gauges.iter().any(|gauge| gauge["Name"] == "nomad_client_uptime"));

    let files = get(&app, &format!("/v1/client/fs/ls/{id}?path=web/local")).await.json();
    assert_eq!(files[0]["Name"], "web/local");
    let hidden = get(&app, &format!("/v1/client/fs/stat/{id}?path=web/secrets")).await;
    assert_eq!(hidden.status, StatusCode::FORBIDDEN);
    let file = get(&app, &format!("/v1/client/fs/readat/{id}?path=a&offset=3&limit=5")).await;
    assert_eq!(file.text, "a 3 Some(5)");
    assert_eq!(file.header("content-type"), "application/octet-stream");
    assert_eq!(get(&app, &format!("/v1/client/fs/cat/{id}?path=a")).await.text, "a 0 None");

    for (path, body) in [
        ("restart", r#"{"TaskName": "main"}"#),
        ("restart", ""),
        ("signal", r#"{"Task": "", "Signal": "SIGHUP"}"#),
        ("gc", ""),
    ] {
        let answer = post(&app, &format!("/v1/client/allocation/{id}/{path}"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    }
    let path = format!("/v1/client/allocation/{id}/restart");
    assert_eq!(post(&app, &path, r#"{"AllTasks": true}"#).await.status, StatusCode::BAD_REQUEST);
    let told = node.0.lock().expect("nobody panics").clone();
    assert_eq!(
        told,
        ["restart Some(\"main\")", "restart None", "signal None SIGHUP", "collect true"]
    );
    let stopped = post(&app, &format!("/v1/allocation/{id}/stop"), "").await;
    assert_eq!(stopped.json()["Index"], 80);
    let nobody = model::AllocId::default();
    let missing = get(&app, &format!("/v1/client/allocation/{nobody}/stats")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    // A page of another origin can restart nothing.
    let request = axum::http::Request::post(format!("/v1/client/allocation/{id}/restart"))
        .header("host", "127.0.0.1:4646")
        .header("origin", "https://evil.example");
    let refused = call(&app, request.body(axum::body::Body::empty()).expect("a request")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}
