//! What keeping a task's output costs: the shim's pump beside `cat > file`, in turns, and the reader.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use driver::{
    Driver, LogStart, LogStream, RawExec, RawExecOptions, SHIM_ARG, Shims, TaskDirs, TaskSpec,
    read_logs,
};
use model::{AllocId, JobId, LogConfig, Resources};
use serde_json::json;

/// The first argument that makes this binary write and then wait.
const WRITE: &str = "__write";

const MB: usize = 1024 * 1024;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == SHIM_ARG => return driver::shim_main(arguments),
        Some(first) if first == WRITE => {
            let mut next = || arguments.next().and_then(|text| text.into_string().ok());
            let (size, done) = (next().expect("a size"), next().expect("a file"));
            write(size.parse().expect("a number"), Path::new(&done));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let size: usize =
        std::env::var("LOGS_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("starts");
    for round in 0..3 {
        let (seconds, cpu) = cat(size);
        let mb = size as f64;
        println!("{round} cat > file  {:6.0} MB/s {:7.1} us of CPU per MB", mb / seconds, cpu / mb);
        runtime.block_on(pump(round, size, false));
        runtime.block_on(pump(round, size, true));
    }
    ExitCode::SUCCESS
}

/// Writes lines, says so, and waits until it is told that this was seen.
fn write(megabytes: usize, done: &Path) {
    let line = [vec![b'x'; 127], vec![b'\n']].concat();
    let block = line.repeat(512);
    let mut out = std::io::stdout().lock();
    for _ in 0..megabytes * MB / block.len() {
        out.write_all(&block).expect("writes");
    }
    File::create(done).expect("makes");
    while done.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Microseconds of CPU that a process has used.
fn cpu_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a stat").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    // A tick is 10 ms on Linux.
    ticks as f64 * 10_000.0
}

fn cat(size: usize) -> (f64, f64) {
    let place = tempfile::tempdir_in(".").expect("a directory");
    let done = place.path().join("done");
    let began = Instant::now();
    let mut writer = Command::new(std::env::current_exe().expect("this binary"))
        .args([WRITE, &size.to_string()])
        .arg(&done)
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut cat = Command::new("cat")
        .stdin(writer.stdout.take().expect("a pipe"))
        .stdout(File::create(place.path().join("out")).expect("makes"))
        .spawn()
        .expect("runs");
    wait_for(&done);
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_of(cat.id());
    fs::remove_file(&done).expect("removes");
    writer.wait().expect("ends");
    cat.wait().expect("ends");
    (seconds, cpu)
}

async fn pump(round: usize, size: usize, followed: bool) {
    let place = tempfile::tempdir_in(".").expect("a directory");
    let root = fs::canonicalize(place.path()).expect("is there");
    let logs = root.join("alloc/logs");
    let task_dir = root.join("web");
    fs::create_dir_all(&logs).expect("makes");
    fs::create_dir_all(task_dir.join("local")).expect("makes");
    let me = std::env::current_exe().expect("this binary");
    let mut options = RawExecOptions::new(root.join("states"));
    (options.enabled, options.shims) = (true, Shims::of(me.clone()));
    let driver = RawExec::new(options);
    let done = root.join("done");
    let spec = spec(&root, &task_dir, &logs, &me, size, &done);
    let began = Instant::now();
    let handle = driver.start(&spec).await.expect("starts");
    let shim = handle.state["shim"]["pid"].as_u64().expect("a pid");
    let reading = followed.then(|| {
        let logs = logs.clone();
        tokio::spawn(async move {
            let mut reader = read_logs(&logs, "web", LogStream::Stdout, LogStart::Offset(0), true)
                .await
                .expect("opens");
            let mut total = 0;
            while total < size * MB {
                let chunk = reader.next().await.expect("reads").expect("follows");
                assert_eq!(chunk.gap, None, "nothing is missed");
                total += chunk.data.len();
            }
            total
        })
    });
    let before = own_cpu();
    let marker = done.clone();
    tokio::task::spawn_blocking(move || wait_for(&marker)).await.expect("waits");
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_of(u32::try_from(shim).expect("a pid"));
    let mb = size as f64;
    let how = if followed { "followed" } else { "        " };
    println!("{round} pump {how} {:5.0} MB/s {:7.1} us of CPU per MB", mb / seconds, cpu / mb);
    if let Some(reading) = reading {
        assert_eq!(reading.await.expect("ends"), size * MB);
        println!(
            "{round} reader        {:5.0} MB/s {:7.1} us of CPU per MB",
            mb / began.elapsed().as_secs_f64(),
            (own_cpu() - before) / mb
        );
    }
    fs::remove_file(&done).expect("removes");
    let status = driver.wait(&handle).await.expect("ends");
    assert!(status.message.is_empty(), "{status}");
    driver.destroy(&handle).await.expect("removes");
}

fn own_cpu() -> f64 {
    cpu_of(std::process::id())
}

fn spec(
    root: &Path,
    task_dir: &Path,
    logs: &Path,
    me: &Path,
    size: usize,
    done: &Path,
) -> TaskSpec {
    let dirs = TaskDirs {
        alloc_dir: root.join("alloc"),
        task_dir: PathBuf::from(task_dir),
        local: task_dir.join("local"),
        secrets: task_dir.join("secrets"),
        logs: logs.to_owned(),
        state: root.join("states").join(AllocId::default().to_string()).join("web"),
    };
    let config = json!({"command": me, "args": [WRITE, size.to_string(), done]});
    let config: BTreeMap<_, _> =
        config.as_object().expect("an object").clone().into_iter().collect();
    let log = LogConfig { max_files: 500, ..LogConfig::default() };
    TaskSpec {
        alloc: AllocId::new(model::seeded_uuid(&[root.as_os_str().as_encoded_bytes()])),
        job: JobId::from("bench".to_owned()),
        group: "logs".to_owned(),
        task: "web".to_owned(),
        driver_config: config,
        env: BTreeMap::new(),
        dirs,
        user: String::new(),
        resources: Resources::default(),
        ports: Vec::new(),
        kill_signal: String::new(),
        log,
        labels: BTreeMap::new(),
        volumes: Vec::new(),
        network: None,
        dns: None,
        hardware: driver::Hardware::default(),
        progress: driver::Progress::default(),
    }
}
