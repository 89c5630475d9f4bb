//! Daemons that go away and come back.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driver::{Attached, Docker, DockerOptions, Driver, LogStream};

use crate::place::{Host, LIMIT, Place, has_program, missing};

/// Stands between the driver and the daemon, and can be taken away as if the daemon were restarted.
struct Between {
    path: std::path::PathBuf,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Between {
    fn open(path: std::path::PathBuf) -> Self {
        let mut between = Self { path, task: None };
        between.restore();
        between
    }

    fn restore(&mut self) {
        let listener = tokio::net::UnixListener::bind(&self.path).expect("binds");
        self.task = Some(tokio::spawn(async move {
            // Dropped with the task, and all connections with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut there) =
                        tokio::net::UnixStream::connect("/var/run/docker.sock").await
                    {
                        let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                    }
                });
            }
        }));
    }

    async fn cut(&mut self) {
        let task = self.task.take().expect("is open");
        task.abort();
        let _ = task.await;
        fs::remove_file(&self.path).expect("removes");
    }
}

#[tokio::test]
async fn a_daemon_that_comes_back_is_found_again() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let mut between = Between::open(place.path().join("docker.sock"));
    let host = Some(between.path.to_string_lossy().into_owned());
    let driver = Docker::new(DockerOptions { host, ..place.options() });
    let script = "i=0; while ! test -e /local/go; do i=$((i+1)); echo $i; sleep 0.01; done; exit 5";
    let handle = driver.start(&place.script(script)).await.expect("starts");
    let waiting = driver.wait(&handle);
    tokio::pin!(waiting);
    for _ in 0..3 {
        let lines = place.logs(LogStream::Stdout).await.lines().count();
        let more = (lines + 20).to_string();
        tokio::select! {
            status = &mut waiting => panic!("it runs still: {status:?}"),
            () = place.said(&more) => {}
        }
        between.cut().await;
        let pause = Duration::from_millis(200);
        assert!(tokio::time::timeout(pause, &mut waiting).await.is_err(), "it runs still");
        between.restore();
    }
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    let status = tokio::time::timeout(LIMIT, waiting).await.expect("in time").expect("ends");
    assert_eq!(status.code, Some(5));
    let all = place.logs(LogStream::Stdout).await;
    let expected: Vec<String> = (1..=all.lines().count()).map(|n| n.to_string()).collect();
    assert_eq!(all.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_said_so() {
    let host = Host::at(std::path::Path::new("/nowhere"));
    let place = Place::new(&host);
    let host = Some(place.path().join("none.sock").to_string_lossy().into_owned());
    let driver = Docker::new(DockerOptions { host, ..DockerOptions::new("x") });
    let info = driver.fingerprint().await;
    assert!(!info.detected && !info.healthy, "{info:?}");
    assert!(info.description.contains("does not answer"), "{info:?}");
    let error = driver.start(&place.script("true")).await.expect_err("cannot start");
    assert!(error.is_recoverable(), "{error}");
    assert!(driver.list_ours().await.is_err(), "no answer is not an empty list");
}

/// A daemon of this test's own, with everything of it in one directory.
struct Dockerd {
    dir: tempfile::TempDir,
    process: Option<Child>,
    live_restore: bool,
}

impl Dockerd {
    fn start(live_restore: bool) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() || !has_program("dockerd") || !has_program("unshare") {
            missing("`dockerd`, or the right to run it,");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("hd").tempdir().expect("a directory");
        let mut daemon = Self { dir, process: None, live_restore };
        daemon.run();
        daemon.host().make_image();
        Some(daemon)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("d.sock")
    }

    fn host(&self) -> Host {
        Host::at(&self.socket())
    }

    fn run(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        fs::write(at("config"), "{}").expect("writes");
        let log = fs::File::options().append(true).create(true).open(at("log")).expect("opens");
        // In a network of its own: without a bridge it takes the other daemon's away.
        let mut command = Command::new("unshare");
        command
            .args(["--net", "dockerd"])
            .args(["--storage-driver", "vfs", "--bridge", "none", "--iptables=false"])
            .args(["--ip6tables=false", "--config-file", &at("config")])
            .args(["--host", &format!("unix://{}", at("d.sock"))])
            .args(["--data-root", &at("root"), "--exec-root", &at("run")])
            .args(["--pidfile", &at("pid"), "--cgroup-parent", "/herder-test"])
            .arg(format!("--live-restore={}", self.live_restore))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log);
        self.process = Some(command.spawn().expect("runs"));
        let begin = Instant::now();
        loop {
            let there = UnixStream::connect(self.socket()).is_ok();
            let host = self.host();
            if there && host.command(&["info"]).output().expect("runs").status.success() {
                return;
            }
            let log = || fs::read_to_string(at("log")).unwrap_or_default();
            assert!(begin.elapsed() < LIMIT, "the daemon answers: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As if the machine had run out of memory for it.
    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kills");
            process.wait().expect("ends");
        }
        // Its containerd goes with it; the next daemon would take it for a running one.
        self.end_containerd();
        for name in ["pid", "run/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.dir.path().join(name));
        }
    }

    fn end_containerd(&self) {
        let file = self.dir.path().join("run/containerd/containerd.pid");
        let Some(pid) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok())
        else {
            return;
        };
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.contains(&*self.dir.path().to_string_lossy()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            while fs::exists(format!("/proc/{pid}/exe")).unwrap_or(false) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let host = self.host();
        let list = host.command(&["ps", "-aq"]).output();
        for id in list.iter().flat_map(|list| list.stdout.split(|byte| *byte == b'\n')) {
            if !id.is_empty() {
                let _ = host.command(&["rm", "-f", &String::from_utf8_lossy(id)]).output();
            }
        }
        if let Some(mut process) = self.process.take() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(process.id()).unwrap_or(i32::MAX));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = process.wait();
        }
        self.end_containerd();
        // It mounts its directory onto itself, which would keep it from being removed.
        let root = self.dir.path().join("root");
        let _ = nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH);
    }
}

const COUNTING: &str =
    "i=0; while ! test -e /local/go; do i=$((i+1)); echo $i; sleep 0.05; done; exit 5";

/// Numbers from 1 on without a gap.
fn assert_counts(output: &str) {
    let expected: Vec<String> = (1..=output.lines().count()).map(|n| n.to_string()).collect();
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_and_keeps_its_containers_loses_nothing() {
    let Some(mut daemon) = Dockerd::start(true) else { return };
    let host = daemon.host();
    let place = Place::new(&host);
    let driver = place.driver();
    let more = serde_json::json!({"network_mode": "none"});
    let handle = driver.start(&place.script_with(COUNTING, more)).await.expect("starts");
    place.said("20").await;
    daemon.kill();
    assert!(driver.reattach(&handle).await.is_err(), "nobody can know now");
    daemon.run();
    // The same agent goes on, and so does one that is new.
    let lines = place.logs(LogStream::Stdout).await.lines().count();
    place.said(&(lines + 40).to_string()).await;
    drop(driver);
    let driver = place.driver();
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Running);
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    let status = tokio::time::timeout(LIMIT, driver.wait(&handle)).await.expect("in time");
    assert_eq!(status.expect("ends").code, Some(5));
    assert_counts(&place.logs(LogStream::Stdout).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_while_its_daemon_is_dead_has_its_end() {
    let Some(mut daemon) = Dockerd::start(true) else { return };
    let host = daemon.host();
    let place = Place::new(&host);
    let driver = place.driver();
    let more = serde_json::json!({"network_mode": "none"});
    let handle = driver.start(&place.script_with(COUNTING, more)).await.expect("starts");
    place.said("5").await;
    daemon.kill();
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    tokio::time::sleep(Duration::from_secs(1)).await;
    daemon.run();
    let status = tokio::time::timeout(LIMIT, driver.wait(&handle)).await.expect("in time");
    let status = status.expect("an end");
    // Docker may not know the code of a container that it did not see ending, and then it is no success.
    assert!(!status.is_success(), "{status}");
    assert!(matches!(driver.reattach(&handle).await, Ok(Attached::Exited(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_its_containers_is_believed() {
    let Some(mut daemon) = Dockerd::start(false) else { return };
    let host = daemon.host();
    let place = Place::new(&host);
    let driver = place.driver();
    let more = serde_json::json!({"network_mode": "none"});
    let handle = driver.start(&place.script_with(COUNTING, more)).await.expect("starts");
    place.said("5").await;
    daemon.kill();
    daemon.run();
    let status = tokio::time::timeout(LIMIT, driver.wait(&handle)).await.expect("in time");
    let status = status.expect("an end");
    assert!(!status.is_success() && !status.oom, "{status}");
    // The task is started anew, and runs once.
    let more = serde_json::json!({"network_mode": "none"});
    let again = driver.start(&place.script_with(COUNTING, more)).await.expect("starts");
    assert_eq!(driver.reattach(&again).await.expect("looks"), Attached::Running);
    assert_eq!(driver.list_ours().await.expect("lists").len(), 1);
    driver.destroy(&again).await.expect("removes");
}
