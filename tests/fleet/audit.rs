//! What must hold of a fleet, at any moment and when it is quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use model::wire::AllocListStub;
use model::{ClientStatus, DesiredStatus};

use crate::load;

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The processes of each allocation beneath a directory, helpers left out.
pub(crate) fn processes(dir: &Path) -> BTreeMap<String, Vec<u32>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (pid, environment) in environments() {
        let value = |name: &str| {
            let mut pairs = environment.split(|byte| *byte == 0);
            let pair = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes()))?;
            Some(String::from_utf8_lossy(pair.strip_prefix(b"=")?).into_owned())
        };
        let is_here =
            value("NOMAD_ALLOC_DIR").is_some_and(|alloc| Path::new(&alloc).starts_with(dir));
        if is_here && let Some(alloc) = value("NOMAD_ALLOC_ID") {
            found.entry(alloc).or_default().push(pid);
        }
    }
    found
}

/// The processes that have to do with a directory at all.
pub(crate) fn all_processes(dir: &Path) -> Vec<u32> {
    let text = dir.display().to_string();
    let mentions = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&text);
    environments()
        .filter(|(pid, environment)| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            *pid != std::process::id() && (mentions(environment) || mentions(&line))
        })
        .map(|(pid, _)| pid)
        .collect()
}

fn environments() -> impl Iterator<Item = (u32, Vec<u8>)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        // What is dead has no environment any more.
        Some((pid, std::fs::read(format!("/proc/{pid}/environ")).ok()?))
    })
}

pub(crate) fn is_over(alloc: &AllocListStub) -> bool {
    matches!(
        alloc.client_status,
        ClientStatus::Complete | ClientStatus::Failed | ClientStatus::Lost
    )
}

pub(crate) fn runs(alloc: &AllocListStub) -> bool {
    alloc.client_status == ClientStatus::Running && alloc.desired_status == DesiredStatus::Run
}

/// Why a fleet is not quiet and right yet: each job has its number of allocations that run, in one version, each with one
/// process; every other allocation is over and has none.
pub(crate) fn settled(
    allocs: &[AllocListStub],
    jobs: &BTreeMap<String, usize>,
    processes: &BTreeMap<String, Vec<u32>>,
) -> Result<(), String> {
    let running: Vec<_> = allocs.iter().filter(|alloc| runs(alloc)).collect();
    for (job, count) in jobs {
        let of_job: Vec<_> = running.iter().filter(|alloc| alloc.job_id.as_str() == job).collect();
        if of_job.len() != *count {
            return Err(format!("{} of {count} allocations of {job} run", of_job.len()));
        }
        let newest = allocs.iter().filter(|alloc| alloc.job_id.as_str() == job);
        let newest = newest.map(|alloc| alloc.job_version).max();
        if of_job.iter().any(|alloc| Some(alloc.job_version) != newest) {
            return Err(format!("an old version of {job} runs"));
        }
        let names: BTreeSet<_> = of_job.iter().map(|alloc| &alloc.name).collect();
        if names.len() != *count {
            return Err(format!("two of {job} have one name: {names:?}"));
        }
    }
    for alloc in allocs {
        let pids = processes.get(&alloc.id.to_string()).map_or(0, Vec::len);
        let wanted = usize::from(runs(alloc));
        if pids != wanted {
            return Err(format!(
                "{} ({}, {:?}, {:?}) has {pids} processes",
                alloc.id, alloc.name, alloc.desired_status, alloc.client_status
            ));
        }
        if !runs(alloc) && !is_over(alloc) {
            return Err(format!(
                "{} ({}) is neither over nor runs: {:?}, {:?}",
                alloc.id, alloc.name, alloc.desired_status, alloc.client_status
            ));
        }
    }
    let known: BTreeSet<_> = allocs.iter().map(|alloc| alloc.id.to_string()).collect();
    match processes.keys().find(|alloc| !known.contains(*alloc)) {
        Some(stranger) => Err(format!("a process of {stranger}, of which nobody knows")),
        None => Ok(()),
    }
}

/// Looks at a fleet all the time, while things happen to it.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    shared: Arc<Mutex<Shared>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    catalogs: Vec<SocketAddr>,
    wrongs: Vec<String>,
    looks: usize,
    fewest: Option<usize>,
    seen: BTreeSet<String>,
}

type Look = Box<dyn Fn(&Mutex<Shared>) + Send>;

/// What was seen.
pub(crate) struct Seen {
    /// The fewest instances that a catalog named.
    pub(crate) fewest: usize,
    /// All allocations that ever had a process.
    pub(crate) allocs: BTreeSet<String>,
}

impl Watch {
    /// Begins to look: no allocation has two processes, and the catalogs that are watched always name somebody.
    pub(crate) fn start(dir: PathBuf, service: &'static str, catalogs: Vec<SocketAddr>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Mutex::new(Shared { catalogs, ..Shared::default() }));
        // A catalog that takes its time holds up nobody's look at the machine.
        let looks: [Look; 2] = [
            Box::new(move |shared| look_at_machine(&dir, shared)),
            Box::new(move |shared| look_at_catalogs(service, shared)),
        ];
        let threads = looks.into_iter().map(|look| {
            let (stop, shared) = (Arc::clone(&stop), Arc::clone(&shared));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    look(&shared);
                    std::thread::sleep(LOOK);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, shared, threads }
    }

    /// These answer from now on: those of agents that live.
    pub(crate) fn catalogs(&self, catalogs: Vec<SocketAddr>) {
        self.shared.lock().expect("no panic").catalogs = catalogs;
    }

    /// Ends, and fails if anything was wrong.
    pub(crate) fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the watch");
        }
        let shared = self.shared.lock().expect("no panic");
        assert!(shared.wrongs.is_empty(), "{:?}", shared.wrongs);
        assert!(shared.looks > 3, "looked {} times only", shared.looks);
        Seen {
            fewest: shared.fewest.expect("a catalog was looked at"),
            allocs: shared.seen.clone(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn look_at_machine(dir: &Path, shared: &Mutex<Shared>) {
    let processes = processes(dir);
    let mut shared = shared.lock().expect("no panic");
    shared.looks += 1;
    for (alloc, pids) in processes {
        if pids.len() > 1 {
            shared.wrongs.push(format!("{alloc} has processes {pids:?}"));
        }
        shared.seen.insert(alloc);
    }
}

fn look_at_catalogs(service: &str, shared: &Mutex<Shared>) {
    let catalogs = shared.lock().expect("no panic").catalogs.clone();
    for catalog in catalogs {
        let found = load::passing(catalog, service).map_err(|error| error.to_string());
        let mut shared = shared.lock().expect("no panic");
        // One that was killed meanwhile counts no more.
        if !shared.catalogs.contains(&catalog) {
            continue;
        }
        match found {
            Ok(instances) => {
                let number = instances.len();
                if number == 0 {
                    shared.wrongs.push(format!("the catalog at {catalog} is empty"));
                }
                shared.fewest = Some(shared.fewest.map_or(number, |fewest| fewest.min(number)));
            }
            Err(error) => shared.wrongs.push(format!("the catalog at {catalog}: {error}")),
        }
    }
}
