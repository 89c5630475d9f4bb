//! What it costs to read job files.
//!
//! `cargo bench -p herder-jobfile` reads 1,000 files of the size that the median of strangers' files has, cold, on one
//! thread and on two, and prints wall and CPU time. Where the corpus lies beside the workspace, its files are read too.
//! The figures of one run compare with each other; those of two machines do not.

#![expect(clippy::disallowed_methods, reason = "the corpus is files")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jobfile::{Inputs, Source, parse};

const FILES: usize = 1_000;
const ROUNDS: usize = 5;

/// A file with what most files have; 1,550 bytes, as the corpus' median.
fn file(n: usize) -> Vec<u8> {
    let text = include_str!("median.nomad.hcl");
    text.replace("NAME", &format!("web-{n}")).into_bytes()
}

fn main() {
    let files: Vec<Vec<u8>> = (0..FILES).map(file).collect();
    let bytes: usize = files.iter().map(Vec::len).sum();
    println!("{FILES} files of {} bytes, HCL to the canonical job with its hash", bytes / FILES);
    for threads in [1, 2] {
        report(&format!("{threads} thread(s)"), FILES, || on_threads(&files, threads));
    }
    let json: Vec<Vec<u8>> = files
        .iter()
        .map(|file| {
            let jobs = parse(Source { path: "a.nomad.hcl", bytes: file }, &Inputs::default()).jobs;
            serde_json::to_vec(&jobs[0]).expect("serialises")
        })
        .collect();
    report("only from canonical JSON to the model", FILES, || {
        for file in &json {
            let job: model::Job = serde_json::from_slice(file).expect("reads");
            std::hint::black_box(&job);
        }
    });
    let corpus = corpus();
    if !corpus.is_empty() {
        let bytes: usize = corpus.iter().map(|(_, bytes)| bytes.len()).sum();
        println!("{} files of strangers, {} bytes in the mean", corpus.len(), bytes / corpus.len());
        report("1 thread", corpus.len(), || {
            for (path, bytes) in &corpus {
                std::hint::black_box(parse(Source { path, bytes }, &Inputs::default()));
            }
        });
    }
}

fn on_threads(files: &[Vec<u8>], threads: usize) {
    std::thread::scope(|scope| {
        for part in files.chunks(files.len().div_ceil(threads)) {
            scope.spawn(move || {
                for bytes in part {
                    let parsed = parse(Source { path: "a.nomad.hcl", bytes }, &Inputs::default());
                    std::hint::black_box(parsed.jobs[0].spec_hash());
                }
            });
        }
    });
}

fn report(what: &str, files: usize, mut run: impl FnMut()) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let (wall, cpu) = (Instant::now(), cpu_time());
        run();
        best = (best.0.min(wall.elapsed()), best.1.min(cpu_time().saturating_sub(cpu)));
    }
    let each = |total: Duration| total.as_secs_f64() * 1e6 / files as f64;
    println!(
        "  {what:<42} {:>8.1} ms wall {:>8.1} ms CPU {:>8.1} µs CPU a file",
        best.0.as_secs_f64() * 1e3,
        best.1.as_secs_f64() * 1e3,
        each(best.1)
    );
}

/// The process' CPU time, in the kernel's ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/nomad");
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                files.push((path.to_string_lossy().into_owned(), bytes));
            }
        }
    }
    files
}
