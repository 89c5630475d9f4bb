//! What a node keeps and clears away: files, sticky disks, time limits; and what it is told from outside.

use super::*;
use crate::{GarbageLimits, OrderError, WhyNoLogs};

fn numbered(n: u8, kind: JobType, group: Group) -> Assignment {
    let id = AllocId::new(model::seeded_uuid(&[&[n]]));
    changed(&assignment(kind, group), |alloc| alloc.id = id)
}

fn batch(n: u8) -> Assignment {
    numbered(n, JobType::Batch, group(vec![task("work")]))
}

fn has_files(stage: &Stage, assignment: &Assignment) -> bool {
    stage.data.path().join("alloc").join(assignment.alloc.id.to_string()).exists()
}

/// Waits, in virtual time, until something is so.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Blocking work runs in real time.
        tokio::task::spawn_blocking(|| ()).await.expect("a thread");
    }
    panic!("it did not come to be");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_files_go_while_no_server_answers_and_nothing_runs_twice() {
    let mut stage = Stage::new();
    stage.tune = |options| options.garbage = GarbageLimits { max_allocs: 2, ..options.garbage };
    let all: Vec<_> = (1..=4).map(batch).collect();
    let runs = numbered(9, JobType::Service, group(vec![task("web")]));
    for n in 1..=4 {
        let mut list = all[..n].to_vec();
        list.push(runs.clone());
        stage.assign(list).await;
        stage.world.until("start work", n).await;
        stage.world.exit("work", 0);
        let id = all[n - 1].alloc.id;
        stage
            .upstream
            .until(|seen| {
                let mut of_it = seen.iter().filter(|report| report.alloc == id);
                of_it.any(|report| report.client == ClientStatus::Complete)
            })
            .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stage.upstream.down(true);
    // The one that runs counts, so that one of four stays.
    until(|| all.iter().filter(|one| has_files(&stage, one)).count() == 1).await;
    assert!(has_files(&stage, &all[3]) && has_files(&stage, &runs));
    let runtime = stage.runtime.as_ref().expect("a node");
    assert_eq!(runtime.why_no_logs(all[0].alloc.id), WhyNoLogs::Collected);
    assert_eq!(runtime.facts().collected, 3);
    let words = |stage: &Stage| {
        let all = stage.runtime.as_ref().expect("a node").statuses();
        let report = all.into_iter().find(|report| report.alloc == batch(1).alloc.id);
        report.expect("it stays known").client_description
    };
    assert!(words(&stage).contains("removed to free disk space"));
    // Another agent knows it too, and a server that has forgotten how they ended starts none of them again.
    stage.stop().await;
    stage.upstream.down(false);
    let mut list = all.clone();
    list.push(runs);
    stage.assign(list).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(stage.world.count("start work"), 4);
    assert!(words(&stage).contains("removed to free disk space"));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_said_and_what_runs_is_left_alone() {
    let mut stage = Stage::new();
    stage.tune = |options| {
        options.disk_use =
            Arc::new(|_| DiskUse { total: 100, used: 95, inodes: 10, inodes_used: 1 });
    };
    let (done, runs) = (batch(1), numbered(9, JobType::Service, group(vec![task("web")])));
    stage.assign(vec![done.clone(), runs.clone()]).await;
    stage.world.until("start work", 1).await;
    stage.world.exit("work", 0);
    until(|| stage.runtime.as_ref().is_some_and(|node| node.facts().pressed)).await;
    assert!(!has_files(&stage, &done) && has_files(&stage, &runs));
    assert_eq!(stage.world.running(), ["web"]);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sticky_disk_waits_for_the_end_of_its_owner_and_moves_once() {
    let mut stage = Stage::new();
    let mut sticky = group(vec![task("web")]);
    sticky.ephemeral_disk.sticky = true;
    let old = numbered(1, JobType::Service, sticky.clone());
    stage.assign(vec![old.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    let root = |assignment: &Assignment| {
        stage.data.path().join("alloc").join(assignment.alloc.id.to_string())
    };
    std::fs::write(root(&old).join("alloc/data/db"), "rows").expect("a file");
    std::fs::write(root(&old).join("web/local/note"), "text").expect("a file");
    let new = changed(&numbered(2, JobType::Service, sticky), |alloc| {
        alloc.previous = Some(old.alloc.id);
    });
    let (old_root, new_root) = (root(&old), root(&new));
    stage.assign(vec![old.clone(), new.clone()]).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(stage.world.count("start web"), 1, "the old one still runs");
    stage.assign(vec![stopped(&old), new.clone()]).await;
    stage.world.until("start web", 2).await;
    let read = |path: &str| std::fs::read_to_string(new_root.join(path)).unwrap_or_default();
    assert_eq!((read("alloc/data/db"), read("web/local/note")), ("rows".into(), "text".into()));
    assert!(!old_root.join("alloc/data").exists());
    let told = |report: &AllocReport| {
        let mut events = report.tasks["web"].events.iter();
        events.any(|event| event.message.starts_with("Took over alloc/data"))
    };
    // Which of the two reports last is chance.
    let id = new.alloc.id;
    stage.upstream.until(|seen| seen.iter().any(|r| r.alloc == id && told(r))).await;
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_successor_waits_for_is_not_removed() {
    let mut stage = Stage::new();
    stage.tune = |options| options.garbage = GarbageLimits { max_allocs: 0, ..options.garbage };
    let mut sticky = group(vec![task("web")]);
    sticky.ephemeral_disk.sticky = true;
    let old = numbered(1, JobType::Batch, sticky.clone());
    let new = changed(&numbered(2, JobType::Batch, sticky), |alloc| {
        alloc.previous = Some(old.alloc.id);
    });
    stage.world.hold(Hold::Before);
    stage.assign(vec![old.clone(), new.clone()]).await;
    stage.world.until("ask web", 1).await;
    stage.world.hold(Hold::Nowhere);
    stage.world.until("start web", 1).await;
    stage.world.hold(Hold::Before);
    stage.world.exit("web", 0);
    // The successor has asked to be started and hangs there.
    stage.world.until("ask web", 2).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(has_files(&stage, &old));
    stage.world.hold(Hold::Nowhere);
    stage.world.until("start web", 2).await;
    until(|| !has_files(&stage, &old)).await;
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_is_ended() {
    let mut stage = Stage::new();
    let mut short = group(vec![task("work")]);
    short.max_run_duration = Some(Duration::from_secs(30));
    let before = Instant::now();
    stage.assign(vec![numbered(1, JobType::Batch, short)]).await;
    let report = stage.newest(ClientStatus::Failed).await;
    assert!(before.elapsed() >= Duration::from_secs(30));
    assert_eq!(report.client_description, "Allocation ran longer than max_run_duration");
    assert_eq!(stage.world.running().len(), 0);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_cannot_have_the_node_wait_for_ever() {
    let mut stage = Stage::new();
    stage.world.deaf();
    let slow = Task { kill_timeout: Duration::from_secs(3600), ..task("web") };
    let assigned = numbered(1, JobType::Service, group(vec![slow]));
    stage.assign(vec![assigned.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    let before = Instant::now();
    stage.assign(vec![stopped(&assigned)]).await;
    stage.newest(ClientStatus::Complete).await;
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(60), "{took:?}");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_are_restarted_and_signalled_on_request() {
    let mut stage = Stage::new();
    let assigned = service();
    let id = assigned.alloc.id;
    stage.assign(vec![assigned]).await;
    stage.newest(ClientStatus::Running).await;
    let node = stage.runtime.as_ref().expect("a node");
    node.signal(id, None, "SIGHUP".into()).await.expect("sent");
    assert_eq!(stage.world.count("signal web SIGHUP"), 1);
    let error = node.signal(id, None, "SIGNONE".into()).await.expect_err("no such signal");
    assert!(matches!(error, OrderError::Refused(_)), "{error}");
    let error = node.restart(id, Some("other".into())).await.expect_err("no such task");
    assert!(matches!(error, OrderError::NotFound(_)), "{error}");
    let error = node.restart(AllocId::default(), None).await.expect_err("no such allocation");
    assert!(matches!(error, OrderError::NotFound(_)), "{error}");
    assert!(node.collect(id).await.is_err(), "it runs");
    let before = Instant::now();
    node.restart(id, Some("web".into())).await.expect("taken");
    stage.world.until("start web", 2).await;
    assert!(before.elapsed() < Duration::from_secs(1), "nothing is waited for");
    let report = stage
        .upstream
        .newest(|report| report.tasks.get("web").is_some_and(|task| task.restarts == 1))
        .await;
    let kinds: Vec<_> = report.tasks["web"].events.iter().map(|e| e.kind.as_str()).collect();
    assert!(kinds.contains(&"Signaling") && kinds.contains(&"Restart Signaled"), "{kinds:?}");
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn use_is_measured_and_ends_are_counted() {
    let mut stage = Stage::new();
    let assigned = service();
    let id = assigned.alloc.id;
    stage.assign(vec![assigned]).await;
    stage.newest(ClientStatus::Running).await;
    let node = stage.runtime.as_ref().expect("a node");
    for _ in 0..2 {
        let usage = node.usage(id).await.expect("it is here");
        assert!((usage.tasks["web"].cpu.percent - 50.0).abs() < 1.0, "{usage:?}");
        assert_eq!(usage.tasks["web"].stats.rss_bytes, 1 << 20);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(node.usage(AllocId::default()).await, None);
    stage.world.starve("web");
    stage.world.until("start web", 2).await;
    until(|| node.facts().restarts == 1).await;
    assert_eq!(node.facts().ooms, 1);
    assert_eq!(node.facts().by_status.values().sum::<u64>(), 1);
    let host = node.host_usage().await;
    assert!(host.memory_total > host.memory_free && host.uptime > 0 && host.disk.total > 0);
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_too_large_is_told_once() {
    let mut stage = Stage::new();
    let mut small = group(vec![task("web")]);
    small.ephemeral_disk.size_mb = 1;
    let assigned = numbered(1, JobType::Service, small);
    stage.assign(vec![assigned.clone()]).await;
    stage.newest(ClientStatus::Running).await;
    let root = stage.data.path().join("alloc").join(assigned.alloc.id.to_string());
    std::fs::write(root.join("alloc/data/big"), vec![1; 3 << 20]).expect("a file");
    let told = |report: &AllocReport| {
        let events = report.tasks["web"].events.iter();
        events.filter(|event| event.kind == "Disk Resources Exceeded").count()
    };
    let report = stage.upstream.newest(|report| told(report) > 0).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(told(&stage.upstream.seen().pop().unwrap_or(report)), 1);
    stage.stop().await;
}
