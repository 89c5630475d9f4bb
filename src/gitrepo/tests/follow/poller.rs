//! Followers: what they tell, and when.

use std::sync::Arc;
use std::time::Duration;

use gitrepo::{Alone, Head, Observation, Poller, ReadError, RepoConfig, RepoHandle};
use model::CommitId;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, PATIENCE, git_in};
use crate::http_server::{Mood, Server};

struct Following {
    handle: RepoHandle,
    events: mpsc::Receiver<Observation>,
    stop: CancellationToken,
}

fn follow(fixture: &Fixture, mut config: RepoConfig) -> Following {
    // Polls must not help the tests.
    config.interval = Duration::from_secs(3600);
    let (sender, events) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let handle = Poller::start(config, fixture.data(), 7, Arc::new(Alone), sender, stop.clone())
        .expect("started");
    Following { handle, events, stop }
}

impl Following {
    async fn next(&mut self) -> Observation {
        timeout(PATIENCE, self.events.recv()).await.expect("in time").expect("an observation")
    }

    async fn next_head(&mut self) -> Head {
        self.next().await.result.expect("a head")
    }
}

#[tokio::test]
async fn a_commit_is_seen_without_polling() {
    let fixture = Fixture::new();
    let mut following = follow(&fixture, fixture.config());
    let first = following.next_head().await;
    assert_eq!(
        (first.commit.id.as_str(), first.branch.as_str()),
        (fixture.head().as_str(), "main")
    );
    for text in ["two", "three"] {
        let commit = fixture.commit("jobs/web.hcl", text);
        let head = following.next_head().await;
        assert_eq!(head.commit.id.as_str(), commit);
        let tree = following.handle.tree(&head.commit.id).await.expect("listed");
        let blob = following.handle.blob(&tree.files[0].blob, 100).await.expect("read");
        assert_eq!(blob, text.as_bytes());
    }
    // Packing references and going to another branch are seen too; neither a stage nor a pack is news.
    fixture.git(&["pack-refs", "--all"]);
    fixture.git(&["checkout", "-q", "-b", "team/side"]);
    assert_eq!(following.next_head().await.branch, "team/side");
    let commit = fixture.commit("jobs/web.hcl", "four");
    assert_eq!(following.next_head().await.commit.id.as_str(), commit);
    let status = following.handle.status();
    assert_eq!(status.head.expect("a head").id.as_str(), commit);
    assert!(status.error.is_none() && status.fetches >= 4 && status.polls >= status.fetches);
    assert!(status.next_poll_at > status.last_poll_at);
    following.stop.cancel();
    timeout(PATIENCE, following.handle.ended()).await.expect("ended");
    let gone = following.handle.commit(&CommitId::from(commit)).await;
    assert!(matches!(gone, Err(ReadError::Stopped { .. })));
    assert_eq!(following.handle.check_now().await.expect_err("stopped").kind(), "other");
}

#[tokio::test]
async fn a_linked_work_tree_is_watched() {
    let fixture = Fixture::new();
    let linked = fixture.dir.path().join("linked");
    let text = linked.to_str().expect("UTF-8");
    fixture.git(&["worktree", "add", "-q", "-b", "side", text]);
    let mut following = follow(&fixture, fixture.config_for(text));
    assert_eq!(following.next_head().await.branch, "side");
    git_in(&linked, &["commit", "-q", "--allow-empty", "-m", "x"]);
    let head = following.next_head().await;
    assert_eq!(head.commit.id.as_str(), git_in(&linked, &["rev-parse", "HEAD"]));
    following.stop.cancel();
}

#[tokio::test]
async fn a_repository_that_vanishes_and_comes_back_is_two_news() {
    let fixture = Fixture::new();
    let mut following = follow(&fixture, fixture.config());
    let first = following.next_head().await;
    let away = fixture.dir.path().join("away");
    std::fs::rename(fixture.repo(), &away).expect("moved");
    let error = following.handle.check_now().await.expect_err("gone");
    assert_eq!(error.kind(), "repository-not-found");
    assert_eq!(following.next().await.result, Err(error));
    // The same failure again is no news, and the head is kept.
    following.handle.check_now().await.expect_err("still gone");
    let status = following.handle.status();
    assert_eq!(status.head.as_ref(), Some(&first.commit));
    assert_eq!(
        status.error.map(|e| (e.kind, e.failures >= 2)),
        Some(("repository-not-found", true))
    );
    following.handle.tree(&first.commit.id).await.expect("what was fetched is read");
    std::fs::rename(&away, fixture.repo()).expect("moved back");
    assert_eq!(following.handle.check_now().await.expect("back"), first);
    assert_eq!(following.next_head().await, first);
    // It is watched again.
    let commit = fixture.commit("jobs/web.hcl", "two");
    assert_eq!(following.next_head().await.commit.id.as_str(), commit);
    assert!(
        following
            .handle
            .is_ancestor(&first.commit.id, &CommitId::from(commit))
            .await
            .expect("known")
    );
    following.stop.cancel();
}

#[tokio::test]
async fn a_folder_of_a_work_tree_is_read_from_there() {
    let fixture = Fixture::new();
    fixture.commit("other/api.hcl", "api");
    fixture.commit("jobs/eu/db.hcl", "db");
    let folder = fixture.repo().join("jobs");
    let config = fixture.config_for(folder.to_str().expect("UTF-8"));
    let paths = |tree: gitrepo::Tree| tree.files.into_iter().map(|f| f.path).collect::<Vec<_>>();
    let mut all = follow(&fixture, config.clone());
    let head = all.next_head().await.commit.id;
    assert_eq!(
        paths(all.handle.tree(&head).await.expect("listed")),
        ["jobs/eu/db.hcl", "jobs/web.hcl"]
    );
    all.stop.cancel();
    timeout(PATIENCE, all.handle.ended()).await.expect("ended");
    let mut some = follow(&fixture, config.with_paths(&["*.hcl"]).expect("patterns"));
    some.next_head().await;
    assert_eq!(paths(some.handle.tree(&head).await.expect("listed")), ["jobs/web.hcl"]);
    some.stop.cancel();
}

#[tokio::test]
async fn reads_do_not_wait_for_a_host_that_hangs() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.dir.path(), Mood::Open);
    let mut following = follow(&fixture, fixture.config_for(&server.url()));
    let head = following.next_head().await;
    server.set(Mood::Hang);
    let handle = following.handle.clone();
    let asked = server.asked().len();
    let checking = tokio::spawn(async move { handle.check_now().await });
    while server.asked().len() == asked {
        tokio::task::yield_now().await;
    }
    let tree = timeout(Duration::from_secs(20), following.handle.tree(&head.commit.id));
    assert_eq!(tree.await.expect("not blocked").expect("listed").files.len(), 1);
    checking.abort();
    following.stop.cancel();
}

#[tokio::test]
async fn a_host_that_limits_us_is_left_alone() {
    let fixture = Fixture::new();
    let limited = "HTTP/1.1 429 Too Many\r\nretry-after: 600\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(fixture.dir.path(), Mood::Says(limited.into()));
    let mut following = follow(&fixture, fixture.config_for(&server.url()));
    assert_eq!(following.next().await.result.expect_err("limited").kind(), "rate-limited");
    server.set(Mood::Open);
    for _ in 0..5 {
        let error = following.handle.check_now().await.expect_err("not asked again");
        assert_eq!(error.kind(), "rate-limited");
    }
    assert_eq!(server.asked().len(), 1);
    following.stop.cancel();
}

#[tokio::test]
async fn a_commit_that_is_not_here_yet_is_fetched_when_needed() {
    let fixture = Fixture::new();
    let server = Server::start(fixture.dir.path(), Mood::Open);
    let mut following = follow(&fixture, fixture.config_for(&server.url()));
    following.next_head().await;
    let new = CommitId::from(fixture.commit("jobs/web.hcl", "two"));
    assert!(matches!(following.handle.commit(&new).await, Err(ReadError::NotFound { .. })));
    assert_eq!(following.handle.ensure(&new).await.expect("fetched").id, new);
    assert_eq!(following.handle.resolve("HEAD").await.expect("resolved"), new);
    let (_, bytes) = following.handle.file(&new, "jobs/web.hcl", 10).await.expect("read");
    assert_eq!(bytes, b"two");
    following.stop.cancel();
}

#[tokio::test]
async fn a_mirror_that_is_tidied_away_is_made_anew() {
    let fixture = Fixture::new();
    let mut following = follow(&fixture, fixture.config());
    let head = following.next_head().await;
    following.handle.tree(&head.commit.id).await.expect("listed");
    std::fs::remove_dir_all(fixture.data().join("git")).expect("removed");
    assert_eq!(following.handle.check_now().await.expect("fetched again"), head);
    let tree = following.handle.tree(&head.commit.id).await.expect("listed");
    following.handle.blob(&tree.files[0].blob, 100).await.expect("read");
    following.stop.cancel();
}
