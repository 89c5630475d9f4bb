//! Daemons to test with, and places for tasks.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use driver::{
    Docker, DockerOptions, Engine, LogStart, LogStream, Progress, TaskDirs, TaskHandle, TaskSpec,
    read_logs,
};
use model::{AllocId, JobId, LogConfig, Resources};
use serde_json::{Value, json};

const SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "localhost/herder-test/busybox:1";
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What is missing is a reason to skip, but not where everything has to be there.
pub(crate) fn missing(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is missing, and CI must have it");
    println!("skipped: {what} is missing");
}

pub(crate) fn has_program(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(name).is_file())
}

/// A daemon that is there, with an image of nothing but busybox.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) socket: PathBuf,
    /// One that is only there for this test.
    process: Option<(Child, tempfile::TempDir)>,
}

impl Host {
    /// The machine's Docker.
    pub(crate) fn docker() -> Option<Self> {
        if UnixStream::connect(SOCKET).is_err() {
            missing("the Docker daemon");
            return None;
        }
        let host = Self { engine: Engine::Docker, socket: SOCKET.into(), process: None };
        host.make_image();
        Some(host)
    }

    /// A service of Podman for this test alone; what it stores it shares with the other tests.
    pub(crate) fn podman() -> Option<Self> {
        let is_root = nix::unistd::geteuid().is_root();
        if !is_root || !has_program("podman") {
            missing("Podman, or the right to run it as root,");
            return None;
        }
        let store = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("podman.sock");
        let log = fs::File::create(dir.path().join("log")).expect("makes");
        // Where the machine itself has less than Podman asks for, its containers would not start.
        let config = dir.path().join("containers.conf");
        let limits =
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
        fs::write(&config, limits).expect("writes");
        let process = Command::new("podman")
            .env("CONTAINERS_CONF", config)
            .arg("--root")
            .arg(store.join("podman-vfs"))
            .arg("--runroot")
            .arg(store.join("podman-vfs-run"))
            // Without this it mounts its store on itself, and leaves that behind.
            .args(["--storage-driver", "vfs"])
            .args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"])
            .args(["system", "service", "--time", "0"])
            .arg(format!("unix://{}", socket.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .spawn()
            .expect("runs");
        let host = Self { engine: Engine::Podman, socket, process: Some((process, dir)) };
        let begin = Instant::now();
        while UnixStream::connect(&host.socket).is_err() {
            assert!(begin.elapsed() < LIMIT, "Podman answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        host.make_image();
        Some(host)
    }

    /// A daemon that somebody else started and stops.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { engine: Engine::Docker, socket: socket.to_owned(), process: None }
    }

    /// The client's command for this daemon. It speaks to Podman as well.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket.display())).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What the daemon says of a container.
    pub(crate) fn inspect(&self, container: &str) -> Value {
        let said = self.says(&["inspect", container]);
        serde_json::from_str::<Value>(&said).expect("is JSON")[0].take()
    }

    pub(crate) fn exists(&self, container: &str) -> bool {
        self.command(&["inspect", container]).output().expect("runs").status.success()
    }

    pub(crate) fn image(&self) -> String {
        IMAGE.to_owned()
    }

    /// An image of nothing but busybox, so that no registry is needed.
    pub(crate) fn make_image(&self) {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.command(&["image", "inspect", IMAGE]).output().expect("runs").status.success() {
            self.import(IMAGE, "");
        }
    }

    /// Makes an image that differs from others by `mark`.
    pub(crate) fn import(&self, name: &str, mark: &str) {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("bin")).expect("makes");
        fs::create_dir(root.path().join("tmp")).expect("makes");
        fs::write(root.path().join("mark"), mark).expect("writes");
        let busybox = root.path().join("bin/busybox");
        fs::copy("/bin/busybox", &busybox).expect("busybox-static is installed");
        // Not the copy: a child that another test forked meanwhile may still hold it open for writing.
        let applets = Command::new("/bin/busybox").arg("--list").output().expect("runs").stdout;
        for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
            let link = root.path().join("bin").join(applet);
            std::os::unix::fs::symlink("busybox", link).expect("links");
        }
        let tar = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).output();
        let mut import = self.command(&["import", "-", name]);
        let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("runs");
        let mut input = import.stdin.take().expect("a pipe");
        input.write_all(&tar.expect("runs").stdout).expect("writes");
        drop(input);
        assert!(import.wait().expect("ends").success(), "the image is imported");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((process, _)) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// An allocation's directories; its containers are removed at the end of the test.
pub(crate) struct Place<'a> {
    pub(crate) host: &'a Host,
    root: tempfile::TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

impl<'a> Place<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        for dir in ["alloc/logs", "web/local", "web/secrets"] {
            fs::create_dir_all(root.path().join(dir)).expect("makes");
        }
        Self { host, root, said: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn instance(&self) -> String {
        self.path().file_name().expect("a name").to_string_lossy().into_owned()
    }

    pub(crate) fn options(&self) -> DockerOptions {
        let host = Some(self.host.socket.to_string_lossy().into_owned());
        DockerOptions { host, ..DockerOptions::of(self.host.engine, self.instance()) }
    }

    pub(crate) fn driver(&self) -> Docker {
        Docker::new(self.options())
    }

    pub(crate) fn script(&self, script: &str) -> TaskSpec {
        self.script_with(script, json!({}))
    }

    /// A script, with further settings.
    pub(crate) fn script_with(&self, script: &str, more: Value) -> TaskSpec {
        let mut config =
            json!({"image": self.host.image(), "command": "/bin/sh", "args": ["-c", script]});
        for (key, value) in more.as_object().expect("a map") {
            config[key] = value.clone();
        }
        self.spec(config)
    }

    pub(crate) fn spec(&self, config: Value) -> TaskSpec {
        let (root, task_dir) = (self.path(), self.path().join("web"));
        let said = Arc::clone(&self.said);
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
                state: root.join("states/web"),
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
            hardware: driver::Hardware::default(),
            progress: Progress::to(move |kind, message| {
                said.lock().expect("whole").push(format!("{kind}: {message}"));
            }),
        }
    }

    /// What the driver said on the way.
    pub(crate) fn progress(&self) -> String {
        self.said.lock().expect("whole").join("\n")
    }

    pub(crate) async fn logs(&self, stream: LogStream) -> String {
        let dir = self.path().join("alloc/logs");
        let mut reader =
            read_logs(&dir, "web", stream, LogStart::Offset(0), false).await.expect("opens");
        let mut all = Vec::new();
        while let Some(chunk) = reader.next().await.expect("reads") {
            all.extend(chunk.data);
        }
        String::from_utf8(all).expect("text")
    }

    pub(crate) async fn said(&self, line: &str) {
        let said = async {
            while !self.logs(LogStream::Stdout).await.lines().any(|said| said == line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, said).await.expect("the task says it");
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let filter = format!("label=herder.instance={}", self.instance());
        let listed = self.host.command(&["ps", "-aq", "--filter", &filter]).output();
        let Ok(listed) = listed else { return };
        for id in String::from_utf8_lossy(&listed.stdout).lines() {
            let _ = self.host.command(&["rm", "-f", id]).output();
        }
    }
}

pub(crate) fn container(handle: &TaskHandle) -> String {
    handle.state["container"].as_str().expect("an id").to_owned()
}
