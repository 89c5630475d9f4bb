//! Remotes over HTTP.

use std::time::{Duration, Instant};

use gitrepo::{Reader, RepoConfig, Secret, SecretSource};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, files, git_in, refresh};
use crate::http_server::{Mood, Server};

fn served(mood: Mood) -> (Fixture, Server, RepoConfig) {
    let fixture = Fixture::new();
    let server = Server::start(fixture.dir.path(), mood);
    let config = fixture.config_for(&server.url());
    (fixture, server, config)
}

#[test]
fn new_objects_arrive_over_http() {
    let (fixture, server, config) = served(Mood::Open);
    let mut mirror = fixture.mirror(config);
    let first = refresh(&mut mirror).expect("fetched");
    assert_eq!(
        (first.branch.as_str(), first.commit.id.as_str()),
        ("main", fixture.head().as_str())
    );
    let second = fixture.commit("jobs/api.hcl", "two");
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), second);
    assert_eq!(files(&mirror).1, "two");
    let before = server.asked().len();
    assert!(!refresh(&mut mirror).expect("looked").fetched);
    let asked = server.asked().split_off(before);
    assert_eq!(asked.len(), 1, "a look without news is one request: {asked:?}");

    fixture.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let rewritten = fixture.commit("jobs/api.hcl", "rewritten");
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), rewritten);
    let reader = Reader::open(mirror.path()).expect("opened");
    assert_eq!(reader.is_ancestor(&second.into(), &rewritten.into()), Ok(false));
    git_in(mirror.path(), &["fsck", "--strict"]);
}

#[test]
fn tags_and_short_ids_are_resolved_over_http() {
    let (fixture, _server, config) = served(Mood::Open);
    let first = fixture.head();
    fixture.git(&["tag", "-a", "v1", "-m", "first"]);
    fixture.commit("jobs/api.hcl", "two");
    let mut mirror = fixture.mirror(config);
    refresh(&mut mirror).expect("fetched");
    let stop = CancellationToken::new();
    for revision in ["v1", "main~1", "HEAD^", &first[..9]] {
        assert_eq!(mirror.resolve(revision, &stop).expect(revision).as_str(), first);
    }
    fixture.git(&["tag", "later"]);
    assert_eq!(mirror.resolve("later", &stop).expect("asked for").as_str(), fixture.head());
}

#[test]
fn tokens_open_doors_and_are_never_shown() {
    // The Basic form of `x-access-token:s3cret-token`.
    let basic = "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0LXRva2Vu".to_owned();
    let (fixture, server, mut config) = served(Mood::Guarded(basic));
    let error = refresh(&mut fixture.mirror(config.clone())).expect_err("no token");
    assert_eq!(error.kind(), "authentication");
    assert!(error.to_string().contains("wants a token"), "{error}");

    let file = fixture.dir.path().join("token");
    std::fs::write(&file, "wr0ng-token\n").expect("written");
    config.credentials.token = Some(SecretSource::File(file.clone()));
    let mut mirror = fixture.mirror(config.clone());
    let error = refresh(&mut mirror).expect_err("wrong token");
    assert_eq!(error.kind(), "authentication");
    assert!(!format!("{error} {error:?}").contains("wr0ng-token"));

    // A rotated token is read without a restart.
    std::fs::write(&file, "s3cret-token\n").expect("written");
    refresh(&mut mirror).expect("the right token");
    assert!(!format!("{config:?}").contains("s3cret-token"));

    let url = format!("http://x-access-token:s3cret-token@127.0.0.1:{}/repo/.git", server.port);
    let mut config = fixture.config_for(&url);
    assert!(!format!("{config:?} {}", config.url).contains("s3cret-token"));
    refresh(&mut fixture.mirror(config.clone())).expect("the token in the address");
    config.credentials.token = Some(SecretSource::Given(Secret::new("other")));
    assert_eq!(refresh(&mut fixture.mirror(config)).expect_err("refused").kind(), "authentication");
}

#[test]
fn credentials_do_not_go_over_plain_http() {
    let fixture = Fixture::new();
    let config = fixture.config_for("http://u:s3cret@192.0.2.1/repo");
    let begun = Instant::now();
    let error = refresh(&mut fixture.mirror(config)).expect_err("refused");
    assert!(error.to_string().contains("plain http"), "{error}");
    assert!(!format!("{error:?}").contains("s3cret"));
    assert!(begun.elapsed() < Duration::from_secs(10), "no connection was tried");
}

#[test]
fn a_host_that_hangs_is_given_up() {
    let (fixture, server, mut config) = served(Mood::Hang);
    config.limits.timeout = Duration::from_millis(300);
    let mut mirror = fixture.mirror(config);
    let error = refresh(&mut mirror).expect_err("given up");
    assert_eq!(error.kind(), "timeout", "{error}");
    assert!(mirror.head().is_none());
    server.set(Mood::Says("HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\ncontent-length: 999\r\n\r\n001e".into()));
    let error = refresh(&mut mirror).expect_err("given up within the answer");
    assert_eq!(error.kind(), "timeout", "{error}");
}

#[test]
fn answers_are_told_apart() {
    let (fixture, server, config) = served(Mood::Open);
    let mut mirror = fixture.mirror(config);
    let seen = refresh(&mut mirror).expect("fetched");
    let empty = |line: &str| Mood::Says(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"));
    for (mood, kind) in [
        (empty("429 Too Many Requests\r\nretry-after: 17"), "rate-limited"),
        (empty("404 Not Found"), "repository-not-found"),
        (empty("403 Forbidden"), "authentication"),
        (empty("502 Bad Gateway"), "host-unreachable"),
        (empty("200 OK\r\ncontent-type: text/html"), "repository-not-found"),
        (empty("302 Found\r\nlocation: http://192.0.2.9/x"), "other"),
        (empty("302 Found\r\nlocation: /repo/.git/info/refs?service=git-upload-pack"), "other"),
        (
            empty("200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement"),
            "host-unreachable",
        ),
        (Mood::Says("nonsense\r\n\r\n".into()), "host-unreachable"),
    ] {
        server.set(mood.clone());
        let error = refresh(&mut mirror).expect_err("no repository");
        assert_eq!(error.kind(), kind, "{mood:?}: {error}");
        if kind == "rate-limited" {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
        }
    }
    assert_eq!(mirror.head().expect("kept").0, seen.commit);
    let gone = fixture.config_for("http://127.0.0.1:1/repo");
    assert_eq!(refresh(&mut fixture.mirror(gone)).expect_err("refused").kind(), "host-unreachable");
}

#[test]
fn branches_and_emptiness_are_told_over_http() {
    let (fixture, _server, mut config) = served(Mood::Open);
    config.branch = Some("prod".into());
    let error = refresh(&mut fixture.mirror(config)).expect_err("absent");
    assert!(error.to_string().contains("it has main"), "{error}");
    let empty = Fixture::empty();
    let server = Server::start(empty.dir.path(), Mood::Open);
    let error = refresh(&mut empty.mirror(empty.config_for(&server.url()))).expect_err("empty");
    assert_eq!(error.kind(), "empty-repository", "{error}");
}

#[test]
fn a_transfer_beyond_its_limit_is_given_up() {
    let (fixture, _server, mut config) = served(Mood::Open);
    config.limits.max_fetch_bytes = 100;
    let error = refresh(&mut fixture.mirror(config)).expect_err("too large");
    assert!(error.to_string().contains("larger than 100 bytes"), "{error}");
}
