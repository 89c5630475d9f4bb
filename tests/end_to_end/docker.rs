//! The same with containers. Skipped, with a word, where there is no Docker daemon; with `CI=true` that is a failure.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use model::RevisionOutcome;

use crate::agent::Agent;
use crate::jobs::{Driver, HERDER, WebJob};
use crate::repository::Repository;

/// An image that holds the binary under test, made by the tests themselves.
pub(crate) const HERDER_IMAGE: &str = "herder-test/herder:1";

/// Whether there is a daemon; makes the image the first time.
pub(crate) fn available() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(|| {
        let answers = docker(&["info"]).is_some();
        if !answers {
            assert!(std::env::var_os("CI").is_none(), "there is no Docker daemon");
            eprintln!("skipped: there is no Docker daemon");
            return false;
        }
        make_image();
        true
    })
}

pub(crate) fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The binary links against the machine's C library, so that comes along.
fn make_image() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    let linked = Command::new("ldd").arg(HERDER).output().expect("ldd runs");
    let mut files: Vec<String> = String::from_utf8_lossy(&linked.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect();
    files.push("/bin/busybox".to_owned());
    for file in files {
        let target = root.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("folders");
        std::fs::copy(&file, target).expect("copied");
    }
    std::fs::copy(HERDER, root.join("herder")).expect("copied");
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).expect("a link");
    let archive = root.with_extension("tar");
    let tar = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg(".").status();
    assert!(tar.expect("tar runs").success());
    let file = archive.display().to_string();
    let before = docker(&["images", "-q", HERDER_IMAGE]).unwrap_or_default();
    assert!(docker(&["import", &file, HERDER_IMAGE]).is_some(), "docker import");
    if !before.trim().is_empty() {
        // The one of an earlier run; refused while something still uses it.
        docker(&["rmi", before.trim()]);
    }
    std::fs::remove_file(archive).expect("removed");
}

/// Ends the containers whose files lie beneath a data directory.
pub(crate) fn remove_containers_of(data_dir: &Path) {
    let Some(ids) = docker(&["ps", "-aq", "--filter", "label=herder.alloc_id"]) else { return };
    for id in ids.lines() {
        let mounts = docker(&["inspect", "-f", "{{range .Mounts}}{{.Source}} {{end}}", id])
            .unwrap_or_default();
        if mounts.contains(&data_dir.display().to_string()) {
            docker(&["rm", "-f", id]);
        }
    }
}

#[test]
fn a_rollout_of_containers_under_load_fails_no_request() {
    if available() {
        crate::rollout::update_under_load(Driver::Docker);
    }
}

#[test]
fn containers_outlive_the_agent_and_their_output_has_no_gap() {
    if !available() {
        return;
    }
    let repo = Repository::new();
    let mut job = WebJob::new("web", 1);
    job.driver = Driver::Docker;
    repo.write("web.nomad.hcl", job.text());
    let commit = repo.commit("web in a container");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let before = agent.wait_running("web", 1).remove(0);
    let container = |id: &str| {
        docker(&["ps", "-q", "--filter", &format!("label=herder.alloc_id={id}")])
            .unwrap_or_default()
    };
    let id = container(&before.id.to_string());
    assert_eq!(id.lines().count(), 1);
    agent.kill();
    agent.launch();
    let after = agent.wait_running("web", 1).remove(0);
    assert_eq!(after.id, before.id);
    assert_eq!(container(&after.id.to_string()), id, "the same container");
    docker(&["stop", "-t", "5", id.trim()]);
    agent.wait_for("the restart", |agent| {
        let alloc = agent.client().allocation(after.id).ok()?.into_value();
        (alloc.stub.task_states.get("server")?.restarts == 1).then_some(())
    });
    let logs = agent.wait_for("both lives in the log", |agent| {
        let output = agent.herder(&["alloc", "logs", "-stderr", &after.id.to_string()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.matches("listens on").count() == 2).then_some(text)
    });
    assert_eq!(logs.matches("ends").count(), 1, "each line once: {logs}");
}

#[test]
fn a_missing_image_is_said_in_words() {
    if !available() {
        return;
    }
    let repo = Repository::new();
    let mut job = WebJob::new("web", 1);
    job.driver = Driver::Docker;
    repo.write("web.nomad.hcl", job.text().replace(HERDER_IMAGE, "127.0.0.1:1/no/such:image"));
    repo.commit("an image that is not there");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_for("the image to be named", |agent| {
        let alloc = agent.client().job_allocations("web").ok()?.into_value().into_iter().next()?;
        let output = agent.herder(&["alloc", "status", &alloc.id.to_string()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.contains("127.0.0.1:1/no/such:image") && text.contains("Driver Failure"))
            .then_some(())
    });
}

/// A registry on this machine, from Debian's docker-registry.
struct Registry {
    child: std::process::Child,
    address: std::net::SocketAddr,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = probe.local_addr().expect("an address");
        drop(probe);
        let config = dir.path().join("registry.yml");
        let storage = dir.path().join("images").display().to_string();
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {storage}\nhttp:\n  addr: {address}\n"
        );
        std::fs::write(&config, text).expect("written");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            assert!(std::env::var_os("CI").is_none(), "docker-registry is missing");
            eprintln!("skipped: docker-registry is not installed");
            return None;
        };
        Some(Self { child, address, _dir: dir })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_image_that_is_not_here_is_pulled() {
    if !available() {
        return;
    }
    let Some(registry) = Registry::start() else { return };
    let image = format!("{}/herder/web:1", registry.address);
    assert!(docker(&["tag", HERDER_IMAGE, &image]).is_some(), "docker tag");
    let pushed = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        docker(&["push", "-q", &image]).is_some()
    });
    assert!(pushed, "docker push {image}");
    assert!(docker(&["rmi", &image]).is_some(), "docker rmi");
    let repo = Repository::new();
    let mut job = WebJob::new("web", 1);
    job.driver = Driver::Docker;
    repo.write("web.nomad.hcl", job.text().replace(HERDER_IMAGE, &image));
    let commit = repo.commit("an image of a registry");
    let mut agent = Agent::start(&repo, &[]);
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    agent.wait_running("web", 1);
    // A tag that the registry does not have is said in words.
    let missing = image.replace(":1", ":none");
    repo.write("web.nomad.hcl", job.text().replace(HERDER_IMAGE, &missing));
    repo.commit("a tag that is not there");
    agent.wait_for("the tag to be named", |agent| {
        let allocs = agent.client().job_allocations("web").ok()?.into_value();
        allocs.iter().find_map(|alloc| {
            let output = agent.herder(&["alloc", "status", &alloc.id.to_string()]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (text.contains(&missing) && text.contains("Driver Failure")).then_some(())
        })
    });
    drop(agent);
    docker(&["rmi", "-f", &image]);
}
