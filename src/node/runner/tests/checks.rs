//! Checks and the verdict that follows from them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_healthy_allocation_takes_a_new_version_without_a_restart() {
    let mut stage = Stage::new();
    let web = Task { services: vec![scripted(Check::default())], ..task("web") };
    let update = Update { min_healthy_time: Duration::from_secs(10), ..Update::default() };
    let group = Group { update: Some(update), ..group(vec![web]) };
    let deployment = |name: &[u8]| Some(DeploymentId::new(model::seeded_uuid(&[name])));
    let first = changed(&assignment(JobType::Service, group.clone()), |alloc| {
        alloc.deployment = deployment(b"1");
    });
    let before = Instant::now();
    stage.assign(vec![first.clone()]).await;
    let report = stage.upstream.newest(|report| report.health.is_some()).await;
    assert!(report.health.is_some_and(|health| health.healthy));
    assert!(before.elapsed() >= Duration::from_secs(10));
    assert!(before.elapsed() < Duration::from_secs(11), "the check was run at once");
    assert_eq!(report.checks["0.0"].status, CheckStatus::Passing);

    let mut group = group;
    group.tasks[0].services.push(scripted(Check { name: "second".into(), ..Check::default() }));
    group.tasks[0].kill_signal = "SIGUSR1".into();
    let mut second = assignment(JobType::Service, group);
    second = changed(&second, |alloc| {
        alloc.job_version = 1;
        alloc.deployment = deployment(b"2");
    });
    stage.assign(vec![second.clone()]).await;
    let anew = |report: &AllocReport| report.deployment == deployment(b"2");
    stage.upstream.newest(|report| anew(report) && report.health.is_none()).await;
    let report = stage.upstream.newest(|report| anew(report) && report.health.is_some()).await;
    assert_eq!(report.checks["1.0"].name, "second");
    assert_eq!(stage.world.count("start web"), 1);
    stage.assign(vec![stopped(&second)]).await;
    stage.world.until("stop web SIGUSR1", 1).await;
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_stays_bad_is_unhealthy_at_the_deadline() {
    let mut stage = Stage::new();
    stage.world.exec_code(2);
    let web = Task { services: vec![scripted(Check::default())], ..task("web") };
    let update = Update { healthy_deadline: Duration::from_secs(30), ..Update::default() };
    let group = Group { update: Some(update), ..group(vec![web]) };
    let assigned = changed(&assignment(JobType::Service, group), |alloc| {
        alloc.deployment = Some(DeploymentId::default());
    });
    let before = Instant::now();
    stage.assign(vec![assigned]).await;
    let report = stage.upstream.newest(|report| report.health.is_some()).await;
    let health = report.health.expect("a verdict");
    assert!(!health.healthy);
    assert_eq!(
        health.reason,
        "not healthy within 30s: check \"service: \\\"web\\\" check\" is critical: out"
    );
    assert!(before.elapsed() >= Duration::from_secs(30));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn checks_flip_and_a_bad_one_restarts_its_task() {
    let mut stage = Stage::new();
    let rule = CheckRestart { limit: 2, grace: Duration::from_secs(1), ignore_warnings: false };
    let check = Check { check_restart: Some(rule), ..Check::default() };
    let web = Task { services: vec![scripted(check)], ..task("web") };
    stage.assign(vec![assignment(JobType::Service, group(vec![web]))]).await;
    let status = |report: &AllocReport| report.checks.get("0.0").map(|check| check.status);
    stage.upstream.newest(|report| status(report) == Some(CheckStatus::Passing)).await;
    let runs = stage.world.count("exec probe");
    assert_eq!(runs, 1, "a check that passes keeps its interval");
    stage.world.exec_code(1);
    stage.upstream.newest(|report| status(report) == Some(CheckStatus::Warning)).await;
    stage.world.until("stop web", 1).await;
    stage.world.exec_code(0);
    stage.world.until("start web", 2).await;
    let passing = |report: &AllocReport| {
        status(report) == Some(CheckStatus::Passing) && report.tasks["web"].restarts == 1
    };
    let report = stage.upstream.newest(passing).await;
    assert!(report.tasks["web"].events.iter().any(|event| event.kind == "Restart Signaled"));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_agent_takes_no_service_out_of_the_catalog() {
    let mut stage = Stage::new();
    let web = Task { services: vec![scripted(Check::default())], ..task("web") };
    stage.assign(vec![assignment(JobType::Service, group(vec![web]))]).await;
    let passing = |report: &AllocReport| {
        report.checks.get("0.0").is_some_and(|check| check.status == CheckStatus::Passing)
    };
    stage.upstream.newest(passing).await;
    stage.kill().await;
    let seen = stage.upstream.seen().len();
    stage.start().await;
    stage.world.until("exec probe", 2).await;
    stage.upstream.until(|reports| reports.len() > seen).await;
    assert!(stage.upstream.seen()[seen..].iter().all(passing));
    stage.stop().await;
}
