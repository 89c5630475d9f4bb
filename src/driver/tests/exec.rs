//! `exec` and `java` with real processes. This binary has its own `main`, because it is also the shim that the drivers
//! start. Needs root; without it the cases say that they are skipped, and fail where `CI` is set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use driver::{
    Attached, Driver, Exec, ExitStatus, IsolationOptions, Java, LogStart, LogStream, SHIM_ARG,
    TaskDirs, TaskHandle, TaskSpec, read_logs,
};
use model::{AllocId, JobId, LogConfig, Resources};
use serde_json::{Value, json};

#[path = "exec/escapes.rs"]
mod escapes;
#[path = "exec/hardware.rs"]
mod hardware;
#[path = "exec/life.rs"]
mod life;
#[path = "exec/limits.rs"]
mod limits;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("runs_as_nobody_in_a_root_of_its_own", || run(life::runs_in_its_own_root())),
    ("tells_exit_codes_and_signals", || run(life::tells_exit_codes_and_signals())),
    ("what_cannot_run_is_said_in_words", || run(life::what_cannot_run_is_said())),
    ("a_polite_end_reaches_the_task", || run(life::a_polite_end_reaches_the_task())),
    ("nothing_is_left_of_a_task", || run(life::nothing_is_left())),
    ("a_later_driver_finds_the_task", || run(life::a_later_driver_finds_the_task())),
    ("a_task_outlives_its_shim", || run(life::a_task_outlives_its_shim())),
    ("commands_run_inside", || run(life::commands_run_inside())),
    ("volumes_and_the_allocation_are_there", || run(life::volumes_are_there())),
    ("java_runs", || run(life::java_runs())),
    ("the_cost_of_a_task_is_small", || run(life::the_cost_is_small())),
    ("memory_is_limited_and_its_end_told_apart", || run(limits::memory_is_limited())),
    ("a_fork_bomb_is_held", || run(limits::a_fork_bomb_is_held())),
    ("what_a_task_uses_is_known", || run(limits::use_is_known())),
    ("cores_are_its_own", || run(hardware::cores_are_its_own())),
    ("shared_cores_change_while_it_runs", || run(hardware::shared_cores_change_while_it_runs())),
    ("devices_are_given", || run(hardware::devices_are_given())),
    ("memory_has_two_limits_or_none", || run(hardware::memory_has_two_limits_or_none())),
    ("no_path_leads_out", || run(escapes::no_path_leads_out())),
    ("no_privilege_is_left", || run(escapes::no_privilege_is_left())),
    ("the_kernel_refuses_what_reaches_beyond", || run(escapes::the_kernel_refuses())),
    ("no_other_process_is_seen", || run(escapes::no_other_process_is_seen())),
    ("links_planted_by_a_task_are_not_followed", || run(escapes::planted_links())),
    ("another_tasks_secrets_cannot_be_read", || run(escapes::secrets_of_others())),
    ("a_setuid_program_gives_nothing", || run(escapes::setuid_gives_nothing())),
    ("what_a_task_says_of_itself_is_not_believed", || run(escapes::forged_records())),
    ("who_may_not_be_is_refused", || run(escapes::refused_in_words())),
];

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|first| first == SHIM_ARG) {
        return driver::shim_main(args);
    }
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if std::env::args().any(|arg| arg == "--list") {
        CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::Uid::effective().is_root() {
        println!("exec: skipped, because it takes root");
        return if std::env::var_os("CI").is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        };
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let begin = Instant::now();
        let fine = std::panic::catch_unwind(case).is_ok();
        let word = if fine { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({} ms)", begin.elapsed().as_millis());
        if fine { passed += 1 } else { failed += 1 }
    }
    println!("exec: {passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limited = async { tokio::time::timeout(Duration::from_secs(90), case).await };
    runtime.expect("a runtime").block_on(limited).expect("the case ends in time");
}

/// An allocation's directories, with an agent of their own; tasks are killed at the end of the case.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        };
        for dir in ["alloc/logs", "alloc/data", "web/local", "web/tmp", "web/secrets"] {
            fs::create_dir_all(root.path().join(dir)).expect("makes");
        }
        for dir in ["alloc/data", "web/local", "web/tmp", "web"] {
            mode(&root.path().join(dir), 0o1777);
        }
        mode(&root.path().join("web/secrets"), 0o700);
        Self { root }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn instance(&self) -> String {
        let name = self.path().file_name().expect("a name").to_string_lossy();
        format!("test-{}", name.trim_start_matches('.'))
    }

    fn options(&self) -> IsolationOptions {
        IsolationOptions::new(self.path().join("states"), self.instance())
    }

    fn driver(&self) -> Exec {
        Exec::new(self.options())
    }

    fn spec(&self, script: &str) -> TaskSpec {
        self.spec_of(json!({"command": "/bin/sh", "args": ["-c", script]}))
    }

    fn spec_of(&self, config: Value) -> TaskSpec {
        let root = self.path();
        let task_dir = root.join("web");
        let alloc = AllocId::new(model::seeded_uuid(&[root.as_os_str().as_encoded_bytes()]));
        TaskSpec {
            alloc,
            job: JobId::from("shop".to_owned()),
            group: "front".to_owned(),
            task: "web".to_owned(),
            driver_config: serde_json::from_value(config).expect("a map"),
            env: BTreeMap::from([("COLOUR".to_owned(), "blue".to_owned())]),
            dirs: TaskDirs {
                alloc_dir: root.join("alloc"),
                local: task_dir.join("local"),
                secrets: task_dir.join("secrets"),
                logs: root.join("alloc/logs"),
                state: root.join("states").join(alloc.to_string()).join("web"),
                task_dir,
            },
            user: String::new(),
            resources: Resources { memory_mb: 64, ..Resources::default() },
            ports: Vec::new(),
            kill_signal: String::new(),
            log: LogConfig::default(),
            labels: BTreeMap::new(),
            volumes: Vec::new(),
            network: None,
            dns: None,
            hardware: driver::Hardware::default(),
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
        String::from_utf8_lossy(&all).into_owned()
    }

    async fn said(&self, line: &str) {
        until(async || self.logs(LogStream::Stdout).await.lines().any(|said| said == line)).await;
    }

    /// Runs a script to its end; its output and how it ended.
    async fn script(&self, script: &str) -> (String, ExitStatus) {
        self.to_end(&self.spec(script)).await
    }

    async fn to_end(&self, spec: &TaskSpec) -> (String, ExitStatus) {
        let driver = self.driver();
        let before = self.logs(LogStream::Stdout).await.len();
        let handle = driver.start(spec).await.expect("starts");
        let status = driver.wait(&handle).await.expect("ends");
        driver.destroy(&handle).await.expect("removes");
        let out = self.logs(LogStream::Stdout).await;
        (out.get(before..).unwrap_or_default().to_owned(), status)
    }

    /// Control groups of this agent, wherever they are mounted.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for tree in fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten() {
            for at in [tree.path(), PathBuf::from("/sys/fs/cgroup")] {
                let ours = at.join("herder.slice").join(self.instance());
                for entry in fs::read_dir(ours).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        found.push(entry.path());
                    }
                }
            }
        }
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let driver = self.driver();
        // On a thread of its own: this one is inside a runtime.
        let cleaning = std::thread::spawn(move || {
            run(async {
                for ours in driver.list_ours().await.unwrap_or_default() {
                    let _ = driver.destroy(&ours.handle).await;
                }
            });
        });
        let _ = cleaning.join();
        for group in self.cgroups() {
            let _ = fs::remove_dir(&group);
        }
        for tree in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(tree.path().join("herder.slice").join(self.instance()));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup/herder.slice").join(self.instance()));
    }
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pid_of(handle: &TaskHandle, pointer: &str) -> i64 {
    handle.state.pointer(pointer).and_then(Value::as_i64).expect("a pid")
}

fn lives(pid: i64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}
