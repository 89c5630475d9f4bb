//! `docker` with a real daemon. Without one the tests are skipped, unless `CI=true`, where that is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use driver::{
    Attached, Docker, DockerOptions, Driver, DriverError, LogStart, LogStream, TaskDirs,
    TaskHandle, TaskSpec, read_logs,
};
use model::{AllocId, JobId, LogConfig, PortAssignment, Resources};
use serde_json::{Value, json};

const SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "herder-test/busybox:1";
const LIMIT: Duration = Duration::from_secs(60);

/// Whether there is a daemon; makes the image on the way.
fn docker_answers() -> bool {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    *ANSWERS.get_or_init(|| {
        if UnixStream::connect(SOCKET).is_err() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "no Docker daemon at {SOCKET}, and CI must have one"
            );
            return false;
        }
        let there = Command::new("docker").args(["image", "inspect", IMAGE]).output();
        if !there.expect("the docker command runs").status.success() {
            make_image();
        }
        true
    })
}

/// An image of nothing but busybox, so that no registry is needed.
fn make_image() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("bin")).expect("makes");
    fs::create_dir(root.path().join("tmp")).expect("makes");
    let busybox = root.path().join("bin/busybox");
    fs::copy("/bin/busybox", &busybox).expect("busybox-static is installed");
    let applets = Command::new(&busybox).arg("--list").output().expect("runs").stdout;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(applet)).expect("links");
    }
    let tar = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).output();
    let mut import = Command::new("docker")
        .args(["import", "-", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("runs");
    import.stdin.take().expect("a pipe").write_all(&tar.expect("runs").stdout).expect("writes");
    assert!(import.wait().expect("ends").success(), "the image is imported");
}

macro_rules! needs_docker {
    () => {
        if !docker_answers() {
            println!("skipped: no Docker daemon");
            return;
        }
    };
}

/// An allocation's directories; its containers are removed at the end of the test.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        for dir in ["alloc/logs", "web/local", "web/secrets"] {
            fs::create_dir_all(root.path().join(dir)).expect("makes");
        }
        Self { root }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn instance(&self) -> String {
        self.path().file_name().expect("a name").to_string_lossy().into_owned()
    }

    fn driver(&self) -> Docker {
        let host = Some(SOCKET.to_owned());
        Docker::new(DockerOptions { host, ..DockerOptions::new(self.instance()) })
    }

    fn script(&self, script: &str) -> TaskSpec {
        self.spec(json!({"image": IMAGE, "command": "/bin/sh", "args": ["-c", script]}))
    }

    fn spec(&self, config: Value) -> TaskSpec {
        let (root, task_dir) = (self.path(), self.path().join("web"));
        TaskSpec {
            alloc: AllocId::new(model::seeded_uuid(&[root.as_os_str().as_encoded_bytes()])),
            job: JobId::from("shop".to_owned()),
            group: "front".to_owned(),
            task: "web".to_owned(),
            driver_config: serde_json::from_value(config).expect("a map"),
            env: BTreeMap::from([
                ("COLOUR".to_owned(), "blue".to_owned()),
                ("PATH".to_owned(), "/bin".to_owned()),
            ]),
            dirs: TaskDirs {
                alloc_dir: root.join("alloc"),
                local: task_dir.join("local"),
                secrets: task_dir.join("secrets"),
                logs: root.join("alloc/logs"),
                task_dir,
            },
            user: String::new(),
            resources: Resources { cpu: 100, memory_mb: 32, ..Resources::default() },
            ports: Vec::new(),
            kill_signal: String::new(),
            log: LogConfig::default(),
            labels: BTreeMap::new(),
            volumes: Vec::new(),
            network: None,
            dns: None,
            progress: driver::Progress::default(),
        }
    }

    async fn logs(&self, stream: LogStream) -> String {
        let dir = self.path().join("alloc/logs");
        let mut reader =
            read_logs(&dir, "web", stream, LogStart::Offset(0), false).await.expect("opens");
        let mut all = Vec::new();
        while let Some(chunk) = reader.next().await.expect("reads") {
            all.extend(chunk.data);
        }
        String::from_utf8(all).expect("text")
    }

    async fn said(&self, line: &str) {
        let said = async {
            while !self.logs(LogStream::Stdout).await.lines().any(|said| said == line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, said).await.expect("the task says it");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let filter = format!("label=herder.instance={}", self.instance());
        let listed = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
        let Ok(listed) = listed else { return };
        for id in String::from_utf8_lossy(&listed.stdout).lines() {
            let _ = Command::new("docker").args(["rm", "-f", id]).output();
        }
    }
}

fn container(handle: &TaskHandle) -> String {
    handle.state["container"].as_str().expect("an id").to_owned()
}

fn exists(container: &str) -> bool {
    let found = Command::new("docker").args(["inspect", container]).output();
    found.expect("runs").status.success()
}

#[tokio::test]
async fn runs_and_keeps_its_output() {
    needs_docker!();
    let place = Place::new();
    let driver = place.driver();
    fs::write(place.path().join("web/local/in"), "from the node\n").expect("writes");
    let script = "echo out $COLOUR; echo err >&2; cat /local/in; echo x > /alloc/made; exit 7";
    let handle = driver.start(&place.script(script)).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    assert_eq!((status.code, status.signal, status.oom), (Some(7), None, false));
    assert!(!status.finished_at.is_zero());
    assert_eq!(place.logs(LogStream::Stdout).await, "out blue\nfrom the node\n");
    assert_eq!(place.logs(LogStream::Stderr).await, "err\n");
    assert_eq!(fs::read_to_string(place.path().join("alloc/made")).expect("reads"), "x\n");
    assert_eq!(driver.wait(&handle).await.expect("known"), status);
    driver.destroy(&handle).await.expect("removes");
    driver.destroy(&handle).await.expect("removes nothing");
    assert!(!exists(&container(&handle)));
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Gone);
}

#[tokio::test]
async fn stop_asks_and_then_kills() {
    needs_docker!();
    let place = Place::new();
    let driver = place.driver();
    let polite = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let handle = driver.start(&place.script(polite)).await.expect("starts");
    place.said("ready").await;
    let status = driver.stop(&handle, "", LIMIT).await.expect("stops");
    assert_eq!(status.code, Some(3));
    assert_eq!(place.logs(LogStream::Stdout).await, "ready\nbye\n");
    // A restart of the same task: the name is free again, the log goes on.
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    let handle = driver.start(&place.script(deaf)).await.expect("starts");
    place.said("deaf").await;
    let begin = Instant::now();
    let status = driver.stop(&handle, "SIGTERM", Duration::from_millis(300)).await.expect("stops");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!((status.code, status.signal), (Some(137), Some(9)));
    assert_eq!(place.logs(LogStream::Stdout).await, "ready\nbye\ndeaf\n");
}

#[tokio::test]
async fn a_new_agent_goes_on_without_gap_or_repetition() {
    needs_docker!();
    let place = Place::new();
    let first = place.driver();
    let script =
        "i=0; while ! test -e /local/go; do i=$((i+1)); echo $i; sleep 0.01; done; echo end";
    let handle = first.start(&place.script(script)).await.expect("starts");
    place.said("20").await;
    drop(first);
    let after = place.logs(LogStream::Stdout).await.lines().count();
    // Time in which no agent is there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = place.driver();
    assert_eq!(second.reattach(&handle).await.expect("looks"), Attached::Running);
    place.said(&(after + 5).to_string()).await;
    drop(second);
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    let third = place.driver();
    while third.reattach(&handle).await.expect("looks") == Attached::Running {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It ended; whoever comes now finds the end and the last output.
    drop(third);
    let last = place.driver();
    let Attached::Exited(status) = last.reattach(&handle).await.expect("looks") else {
        panic!("it has ended");
    };
    assert!(status.is_success(), "{status}");
    let all = place.logs(LogStream::Stdout).await;
    let lines: Vec<&str> = all.lines().collect();
    let (end, numbers) = lines.split_last().expect("lines");
    assert_eq!(*end, "end");
    let expected: Vec<String> = (1..=numbers.len()).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected);
}

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
                    if let Ok(mut there) = tokio::net::UnixStream::connect(SOCKET).await {
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
    needs_docker!();
    let place = Place::new();
    let mut between = Between::open(place.path().join("docker.sock"));
    let host = Some(between.path.to_string_lossy().into_owned());
    let driver = Docker::new(DockerOptions { host, ..DockerOptions::new(place.instance()) });
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
async fn no_task_runs_twice() {
    needs_docker!();
    let place = Place::new();
    let task = place.script("echo ready; sleep 1000");
    let first = place.driver().start(&task).await.expect("starts");
    // The agent died before it stored the handle, and starts the task again: it is the same one.
    let driver = place.driver();
    let again = driver.start(&task).await.expect("starts");
    assert_eq!(container(&first), container(&again));
    // Another version of it is another container, and the only one.
    let other = driver.start(&place.script("echo other; sleep 1000")).await.expect("starts");
    assert_ne!(container(&first), container(&other));
    let ours = driver.list_ours().await.expect("lists");
    let [only] = ours.as_slice() else { panic!("one container: {ours:?}") };
    assert_eq!((only.alloc, only.task.as_str(), only.running), (task.alloc, "web", true));
    assert_eq!(container(&only.handle), container(&other));
    driver.destroy(&only.handle).await.expect("removes");
    assert_eq!(driver.list_ours().await.expect("lists"), Vec::new());
}

/// The agent died before it stored the handle: all that the next one has is the list.
#[tokio::test]
async fn a_container_that_is_only_found_in_the_list_keeps_its_output() {
    needs_docker!();
    let place = Place::new();
    let task = place.script("while ! test -e /local/go; do sleep 0.05; done; echo done; exit 7");
    place.driver().start(&task).await.expect("starts");
    let driver = place.driver();
    let found = driver.list_ours().await.expect("lists").pop().expect("it is listed");
    assert_eq!(driver.reattach(&found.handle).await.expect("looks"), Attached::Running);
    fs::write(place.path().join("web/local/go"), "").expect("writes");
    let waiting = tokio::time::timeout(LIMIT, driver.wait(&found.handle));
    let status = waiting.await.expect("in time").expect("ends");
    assert_eq!(status.code, Some(7));
    assert_eq!(place.logs(LogStream::Stdout).await, "done\n");
}

#[tokio::test]
async fn output_is_kept_as_soon_as_there_is_a_place_for_it() {
    needs_docker!();
    let place = Place::new();
    let logs = place.path().join("alloc/logs");
    fs::remove_dir(&logs).expect("removes");
    fs::write(&logs, "in the way").expect("writes");
    let driver = place.driver();
    let handle = driver.start(&place.script("echo early; sleep 1000")).await.expect("starts");
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::remove_file(&logs).expect("removes");
    fs::create_dir(&logs).expect("makes");
    place.said("early").await;
    driver.destroy(&handle).await.expect("removes");
}

#[tokio::test]
async fn a_signal_without_meaning_does_not_save_a_container() {
    needs_docker!();
    let place = Place::new();
    let driver = place.driver();
    let handle = driver.start(&place.script("exec sleep 1000")).await.expect("starts");
    let stop = driver.stop(&handle, "SIGNOPE", Duration::from_millis(100));
    let status = tokio::time::timeout(LIMIT, stop).await.expect("in time").expect("stops");
    assert_eq!(status.signal, Some(9));
}

#[tokio::test]
async fn a_container_that_is_not_ours_is_left_alone() {
    needs_docker!();
    let place = Place::new();
    let task = place.script("sleep 1000");
    let driver = place.driver();
    let handle = driver.start(&task).await.expect("starts");
    let mut stale = handle.clone();
    stale.state["alloc"] = json!(AllocId::default());
    for result in [
        driver.destroy(&stale).await,
        driver.signal(&stale, "SIGKILL").await,
        driver.stop(&stale, "", Duration::ZERO).await.map(|_| ()),
        driver.wait(&stale).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(DriverError::NotOurs { .. })), "{result:?}");
    }
    assert_eq!(driver.reattach(&handle).await.expect("looks"), Attached::Running);
}

#[tokio::test]
async fn a_missing_image_or_command_is_said_in_words() {
    needs_docker!();
    let place = Place::new();
    let driver = place.driver();
    let image = "localhost:1/herder-test/nope:9";
    let error = driver.start(&place.spec(json!({"image": image}))).await.expect_err("no image");
    assert!(error.to_string().contains(&format!("the image {image} cannot be pulled")), "{error}");
    let config = json!({"image": IMAGE, "command": "no-such-command"});
    let error = driver.start(&place.spec(config)).await.expect_err("no command");
    assert!(error.to_string().contains("no-such-command"), "{error}");
    assert!(!error.is_recoverable(), "{error}");
    assert_eq!(
        driver.list_ours().await.expect("lists"),
        Vec::new(),
        "nothing is left of the attempt"
    );
    // The registry cannot be reached, a copy is at hand.
    let config = json!({"image": IMAGE, "command": "/bin/true", "force_pull": true,
        "image_pull_timeout": "10s"});
    let handle = driver.start(&place.spec(config)).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
}

#[tokio::test]
async fn commands_run_in_the_container() {
    needs_docker!();
    let place = Place::new();
    let driver = place.driver();
    let handle = driver.start(&place.script("echo ready; exec sleep 1000")).await.expect("starts");
    place.said("ready").await;
    let script = |text: &str| ["-c".to_owned(), text.to_owned()];
    let said = driver.exec(&handle, "sh", &script("echo $COLOUR; exit 2"), LIMIT).await;
    let said = said.expect("runs");
    assert_eq!((said.exit_code, said.output.as_slice()), (2, &b"blue\n"[..]));
    let said = driver.exec(&handle, "sh", &script("yes | head -c 100000"), LIMIT).await;
    assert_eq!(said.expect("runs").output.len(), driver::MAX_EXEC_OUTPUT);
    let short = Duration::from_millis(500);
    let late = driver.exec(&handle, "sh", &script("exec sleep 777"), short).await;
    assert!(matches!(late, Err(DriverError::Timeout { .. })), "{late:?}");
    let count = script("ps | grep -c '[s]leep 777'");
    let gone = async {
        while driver.exec(&handle, "sh", &count, LIMIT).await.expect("runs").output != b"0\n" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("what took too long is killed");
    driver.signal(&handle, "KILL").await.expect("sends");
    assert_eq!(driver.wait(&handle).await.expect("ends").signal, Some(9));
    let gone = driver.exec(&handle, "true", &[], LIMIT).await;
    assert!(matches!(gone, Err(DriverError::NotRunning(_))), "{gone:?}");
}

#[tokio::test]
async fn ports_limits_and_settings_reach_docker() {
    needs_docker!();
    let place = Place::new();
    let driver = place.driver();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let port = free.expect("a port").port();
    let mut task = place.spec(json!({
        "image": IMAGE, "command": "/bin/httpd", "args": ["-f", "-p", "8080", "-h", "/www"],
        "ports": ["http"], "labels": [{"colour": "blue"}], "hostname": "front", "init": true,
        "volumes": ["local/www:/www:ro"], "extra_hosts": ["db:10.0.0.9"], "cap_drop": ["ALL"],
        "ulimit": {"nofile": "512:1024"}, "shm_size": 1048576, "readonly_rootfs": true,
        "mount": [{"type": "tmpfs", "target": "/tmp", "tmpfs_options": {"size": 65536}}],
        "logging": {"type": "journald"},
    }));
    task.ports = vec![PortAssignment {
        label: "http".into(),
        value: port,
        to: 8080,
        host_ip: "127.0.0.1".into(),
        host_network: None,
    }];
    fs::create_dir(place.path().join("web/local/www")).expect("makes");
    fs::write(place.path().join("web/local/www/index.html"), "hello").expect("writes");
    let handle = driver.start(&task).await.expect("starts");
    let inspected = Command::new("docker").args(["inspect", &container(&handle)]).output();
    let inspected: Value =
        serde_json::from_slice(&inspected.expect("runs").stdout).expect("is JSON");
    let host = &inspected[0]["HostConfig"];
    assert_eq!(host["Memory"], 32 << 20);
    assert_eq!(host["CpuShares"], 100);
    assert_eq!(host["PortBindings"]["8080/tcp"][0]["HostPort"], port.to_string());
    assert_eq!(host["Ulimits"][0]["Soft"], 512);
    assert_eq!(inspected[0]["Config"]["Labels"]["colour"], "blue");
    assert_eq!(inspected[0]["Config"]["Labels"]["herder.job"], "shop");
    assert_eq!(inspected[0]["Config"]["Hostname"], "front");
    let page = async {
        loop {
            let fetched = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            if let Ok(mut stream) = fetched {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut answer = String::new();
                let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
                let _ = stream.read_to_string(&mut answer).await;
                if answer.ends_with("hello") {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, page).await.expect("the page is served");
}

#[tokio::test]
async fn too_much_memory_is_told_from_a_signal() {
    needs_docker!();
    let place = Place::new();
    let driver = place.driver();
    let script = "x=a; while :; do x=$x$x; done";
    let mut task = place.script(script);
    task.resources.memory_mb = 16;
    let handle = driver.start(&task).await.expect("starts");
    let status = driver.wait(&handle).await.expect("ends");
    assert!(!status.is_success() && status.oom, "{status}");
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_said_so() {
    let place = Place::new();
    let host = Some(place.path().join("none.sock").to_string_lossy().into_owned());
    let driver = Docker::new(DockerOptions { host, ..DockerOptions::new("x") });
    let info = driver.fingerprint().await;
    assert!(!info.detected && !info.healthy, "{info:?}");
    assert!(info.description.contains("does not answer"), "{info:?}");
    let error = driver.start(&place.script("true")).await.expect_err("cannot start");
    assert!(error.is_recoverable(), "{error}");
    assert!(driver.list_ours().await.is_err(), "no answer is not an empty list");
}

#[tokio::test]
async fn the_daemon_is_described() {
    needs_docker!();
    let place = Place::new();
    let info = place.driver().fingerprint().await;
    assert!(info.healthy, "{info:?}");
    assert!(info.attributes.contains_key("driver.docker.version"), "{info:?}");
}
