//! Periodic and parameterized jobs and their runs, from a request to an answer.

use std::sync::Arc;

use axum::http::StatusCode;
use model::{Job, JobId, JobType, Parameterized, Periodic};
use state::{Command, Dispatch, FileOutcome, JobSubmission, Launch, Plan, TakeRevision};

use crate::fixture::{App, app_after, at, get, post};

fn batch(id: &str) -> Job {
    Job {
        id: id.into(),
        name: id.to_owned(),
        kind: JobType::Batch,
        namespace: "default".to_owned(),
        ..Job::default()
    }
}

fn app() -> App {
    let periodic = Periodic { specs: vec!["@hourly".to_owned()], ..Periodic::default() };
    let asked = Parameterized { payload: "required".to_owned(), ..Parameterized::default() };
    let jobs = [
        Job { periodic: Some(periodic), ..batch("team/nightly") },
        Job { parameterized_job: Some(asked), ..batch("team/send") },
    ];
    let submissions = jobs.into_iter().map(|job| JobSubmission { job: Arc::new(job) }).collect();
    let file = FileOutcome::declaring("b".into(), submissions, Vec::new());
    let launch = |secs| {
        Command::LaunchPeriodic(Launch {
            job: "team/nightly".into(),
            run_of: at(secs),
            at: at(secs),
            ..Launch::default()
        })
    };
    let send = JobId::from("team/send");
    app_after(&[
        Command::TakeRevision(Box::new(TakeRevision {
            repo: "runs".to_owned(),
            commit: format!("{:040x}", 7).into(),
            files: [("jobs/runs.hcl".to_owned(), file)].into(),
            at: at(20),
            ..TakeRevision::default()
        })),
        launch(50),
        launch(60),
        Command::DispatchJob(Box::new(Dispatch {
            job: send.clone(),
            child: send.dispatch_child("", at(70), 0xc0ffee),
            payload: b"hunter2".to_vec().into(),
            meta: Default::default(),
            idempotency_token: "token".to_owned(),
            at: at(70),
            ..Dispatch::default()
        })),
        Command::ApplyPlan(Box::new(Plan {
            basis: u64::MAX,
            at: at(80),
            finished: vec![JobId::from("team/nightly").periodic_child(at(50))],
            ..Plan::default()
        })),
    ])
}

#[tokio::test]
async fn runs_have_nomads_shapes() {
    let app = app();
    let sent = JobId::from("team/send").dispatch_child("", at(70), 0xc0ffee).to_string();
    for (name, path) in [
        ("run_list", "/v1/jobs?prefix=team/nightly".to_owned()),
        ("run_parent", "/v1/job/team%2Fnightly".to_owned()),
        ("run_parent_summary", "/v1/job/team/nightly/summary".to_owned()),
        ("run_dispatched", format!("/v1/job/{sent}")),
    ] {
        let answer = get(&app, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        insta::assert_snapshot!(name, answer.pretty());
    }
    let escaped = get(&app, &format!("/v1/job/{}", sent.replace('/', "%2F"))).await;
    assert_eq!(escaped.text, get(&app, &format!("/v1/job/{sent}")).await.text);
    let read: model::wire::JobView = serde_json::from_str(&escaped.text).expect("is read");
    assert_eq!(read.payload.as_deref(), Some(&b"hunter2"[..]));
    let list = get(&app, "/v1/jobs").await.text;
    assert!(!list.contains("aHVudGVyMg"), "{list}");
}

#[tokio::test]
async fn runs_are_asked_for_as_nomad_is() {
    let app = app();
    let body = "{\"Payload\":\"eA==\",\"Meta\":{\"a\":\"b\"},\"IdPrefixTemplate\":\"p\"}";
    let answer = post(&app, "/v1/job/team/send/dispatch?idempotency_token=t", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("x-nomad-index"), "79");
    insta::assert_snapshot!("run_dispatch", answer.pretty());
    let answer = post(&app, "/v1/job/team%2Fnightly/periodic/force", "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    insta::assert_snapshot!("run_force", answer.pretty());
    assert_eq!(post(&app, "/v1/job/nope/dispatch", "").await.status, StatusCode::NOT_FOUND);
    let wrong = post(&app, "/v1/job/team%2Fsend/dispatch", "{\"Payload\":\"hunter2!\"}").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(!wrong.text.contains("hunter"), "{}", wrong.text);
    let get = get(&app, "/v1/job/team%2Fsend/dispatch").await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
}
