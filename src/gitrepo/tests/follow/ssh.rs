//! Remotes over ssh and `git://`, with stand-ins for the programs at the other end.

use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use gitrepo::RepoConfig;

use crate::fixture::{Fixture, files, refresh};

/// A program that stands in for `ssh`: after `--` come the host and the command, which it runs here.
fn stand_in(fixture: &Fixture, script: &str) -> PathBuf {
    let [written, path] = ["ssh.new", "ssh"].map(|name| fixture.dir.path().join(name));
    std::fs::write(&written, format!("#!/bin/sh\n{script}\n")).expect("written");
    // By another process: what a test running beside this one forks may hold a file open that was written here, and
    // such a file cannot be run.
    let install = Command::new("install").args(["-m", "755"]).args([&written, &path]).status();
    assert!(install.expect("install runs").success());
    path
}

fn config(fixture: &Fixture, script: &str) -> RepoConfig {
    let url = format!("ssh://git:pw@host.example{}", fixture.repo().display());
    let mut config = fixture.config_for(&url);
    config.credentials.ssh_program = Some(stand_in(fixture, script));
    config
}

const RUN: &str = r#"while [ "$1" != "--" ]; do shift; done
[ "$2" = git@host.example ] || { echo "wrong host $2" >&2; exit 9; }
exec sh -c "$3""#;

#[test]
fn new_objects_arrive_over_ssh() {
    let fixture = Fixture::new();
    let mut mirror = fixture.mirror(config(&fixture, RUN));
    refresh(&mut mirror).expect("fetched");
    let second = fixture.commit("jobs/api.hcl", "two");
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), second);
    assert_eq!(files(&mirror).1, "two");
    assert!(!refresh(&mut mirror).expect("looked").fetched);
}

#[test]
fn what_ssh_says_is_the_error() {
    let fixture = Fixture::new();
    for (script, kind, text) in [
        ("echo 'Host key verification failed.' >&2; exit 255", "authentication", "known_hosts"),
        (
            "echo 'git@h: Permission denied (publickey).' >&2; exit 255",
            "authentication",
            "publickey",
        ),
        ("echo 'Could not resolve hostname h' >&2; exit 255", "host-unreachable", "resolve"),
        ("exit 3", "host-unreachable", ""),
        ("seq 1 100000 >&2; echo 'last words' >&2; exit 1", "other", "last words"),
    ] {
        let error = refresh(&mut fixture.mirror(config(&fixture, script))).expect_err("refused");
        assert_eq!(error.kind(), kind, "{script}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(text), "{shown}");
        assert!(shown.len() < 6000 && !shown.contains("pw@"), "{shown}");
    }
}

#[test]
fn an_ssh_that_hangs_is_given_up() {
    let fixture = Fixture::new();
    let mut config = config(&fixture, "exec sleep 600");
    config.limits.timeout = Duration::from_millis(300);
    let error = refresh(&mut fixture.mirror(config)).expect_err("given up");
    assert_eq!(error.kind(), "timeout", "{error}");
}

#[test]
fn a_missing_ssh_is_told() {
    let fixture = Fixture::new();
    let mut config = config(&fixture, RUN);
    config.credentials.ssh_program = Some("/nonexistent/ssh".into());
    let error = refresh(&mut fixture.mirror(config)).expect_err("cannot run");
    assert!(error.to_string().contains("install an ssh client"), "{error}");
}

#[test]
fn a_git_daemon_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 45];
        stream.read_exact(&mut request).expect("a request");
        // Held open until the client gives up.
        let rest = stream.read(&mut [0; 1]);
        (String::from_utf8_lossy(&request).into_owned(), rest.unwrap_or(0))
    });
    let fixture = Fixture::new();
    let mut config = fixture.config_for(&format!("git://127.0.0.1:{port}/jobs.git"));
    config.limits.timeout = Duration::from_millis(300);
    let error = refresh(&mut fixture.mirror(config)).expect_err("given up");
    assert_eq!(error.kind(), "timeout", "{error}");
    let (request, _) = asked.join().expect("no panic");
    assert_eq!(request, "002dgit-upload-pack /jobs.git\0host=127.0.0.1\0");
}

#[test]
fn new_objects_arrive_from_a_git_daemon() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let fixture = Fixture::new();
    let repo = fixture.repo();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            stream.read_exact(&mut [0; 41]).expect("a request");
            let output = OwnedFd::from(stream.try_clone().expect("a second handle"));
            let mut child = Command::new("git")
                .arg("upload-pack")
                .arg(&repo)
                .stdin(Stdio::from(OwnedFd::from(stream)))
                .stdout(Stdio::from(output))
                .spawn()
                .expect("git runs");
            child.wait().expect("git ends");
        }
    });
    let mut mirror = fixture.mirror(fixture.config_for(&format!("git://127.0.0.1:{port}/repo")));
    refresh(&mut mirror).expect("fetched");
    let second = fixture.commit("jobs/api.hcl", "two");
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), second);
    assert_eq!(files(&mirror).1, "two");
}
