//! Strangers' job files, unchanged but for what this machine cannot have: their images and missing programs are stood in
//! for. Each is accepted, placed and started by its drivers, or says why not for a reason that is listed here.
//!
//! The files are not part of the repository; where `../shared/corpus/nomad` is missing, the test says that it is skipped.
//! It looks at as many as fit into its time, in an order that is the same in every run; `HERDER_CORPUS_SECONDS` gives it
//! more.

mod stand_ins;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jobfile::{Inputs, Source, parse};
use model::Job;

use self::stand_ins::StandIns;
use crate::agent::Agent;
use crate::docker::available as has_docker;
use crate::repository::Repository;

/// How long waves are begun, unless the environment says otherwise.
const SPAN: Duration = Duration::from_secs(75);

/// How long the tasks of a wave may take to be started or refused.
const WAVE: Duration = Duration::from_secs(25);

/// How long one may have no allocation before it is asked why.
const NO_PLACE: Duration = Duration::from_secs(5);

/// Files that run at the same time.
const TOGETHER: usize = 16;

/// Why a file does not run here: words of the agent, and what they come to.
const REASONS: [(&str, &str); 34] = [
    ("not accepted: unreadable-file", "reads a file that the corpus does not have"),
    ("not accepted: missing-variable", "a variable that nobody gives"),
    ("not accepted: duplicate-job", "two files are the same job"),
    ("not accepted", "Nomad refuses it too"),
    ("\"1 = ", "a variable that nobody gives"),
    ("missing drivers", "a driver that nobody has: qemu, podman, pledge, ecs …"),
    ("has no driver", "a driver that is not here"),
    ("driver.", "a driver that is not here"),
    ("csi", "needs csi"),
    ("CSI", "needs csi"),
    ("vault", "needs vault"),
    ("connect", "needs connect"),
    ("unique.hostname", "only for one machine of somebody"),
    ("unique.consul", "needs a Consul agent"),
    ("consul.dns", "needs a Consul agent"),
    ("cpu.arch", "only for another machine"),
    ("kernel.", "only for another machine"),
    ("os.name", "only for another machine"),
    ("cgroup.version", "only for another machine"),
    ("node.datacenter", "only for another machine"),
    ("storage.bytesfree", "only for another machine"),
    ("device", "needs a device"),
    ("not allowed on this node", "asks for what the node's owner has to allow"),
    ("user `", "runs as a user that is not here"),
    ("privileged", "asks for what the node's owner has to allow"),
    ("volumes", "asks for what the node's owner has to allow"),
    ("rtifact", "fetches a file of the internet"),
    ("emplate", "a template needs what is not here"),
    ("executable file not found", "its own program is not in the stand-in"),
    ("sibling failed", "its build needs what is not here"),
    ("\"memory\"", "more than is here"),
    // As whole cores.
    ("\"cpu\"", "more than is here"),
    ("disk", "more than is here"),
    ("host network", "only for a network of somebody"),
];

/// A file of the corpus that has a task for one of our drivers.
struct Stranger {
    /// From the root of the corpus.
    path: String,
    text: String,
    job: Job,
    ports: BTreeSet<u16>,
    /// Variables that somebody has to give.
    variables: BTreeSet<String>,
}

/// What became of a file.
enum Fate {
    Ran { tasks: usize },
    Refused(String),
}

#[test]
fn strangers_jobs_run() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/nomad");
    if !corpus.is_dir() {
        eprintln!("skipped: there is no {}", corpus.display());
        return;
    }
    let span = std::env::var("HERDER_CORPUS_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = span.map_or(SPAN, Duration::from_secs);
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    let mut groups: BTreeMap<(String, String), Vec<Stranger>> = BTreeMap::new();
    let (mut seen, mut broken) = (0, 0);
    for path in files(&corpus) {
        let Some(found) = read(&corpus, &path) else { continue };
        seen += 1;
        match found {
            Ok(stranger) => {
                let datacenter = stranger.job.datacenters.first().map_or("*", String::as_str);
                let datacenter = if datacenter == "*" { "dc1" } else { datacenter };
                let pool = stranger.job.node_pool.as_str();
                let pool = if pool.is_empty() || pool == "all" { "default" } else { pool };
                groups.entry((datacenter.to_owned(), pool.to_owned())).or_default().push(stranger);
            }
            Err(problem) => {
                broken += 1;
                fates.insert(path, Fate::Refused(problem));
            }
        }
    }
    let begin = Instant::now();
    // The largest first; few files are in other datacenters.
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, strangers)| std::cmp::Reverse(strangers.len()));
    for ((datacenter, pool), strangers) in groups {
        if begin.elapsed() < span {
            run(&datacenter, &pool, strangers, begin + span, &mut fates);
        }
    }
    let looked_at = fates.len();
    table(&fates);
    println!("{looked_at} of {seen} files looked at, {broken} of them not accepted");
    let unexplained: Vec<String> = fates
        .iter()
        .filter_map(|(path, fate)| match fate {
            Fate::Refused(why) if reason(why).is_none() => Some(format!("{path}: {why}")),
            _ => None,
        })
        .collect();
    assert!(unexplained.is_empty(), "not run, and nobody knows why:\n{}", unexplained.join("\n"));
    let ran = fates.values().filter(|fate| matches!(fate, Fate::Ran { .. })).count();
    assert!(ran * 3 > looked_at, "{ran} of {looked_at} ran");
}

fn reason(why: &str) -> Option<&'static str> {
    REASONS.iter().find(|(words, _)| why.contains(words)).map(|(_, name)| *name)
}

fn table(fates: &BTreeMap<String, Fate>) {
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut ran, mut tasks) = (0, 0);
    for fate in fates.values() {
        match fate {
            Fate::Ran { tasks: some } => {
                ran += 1;
                tasks += some;
            }
            Fate::Refused(why) => *rows.entry(reason(why).unwrap_or("?")).or_default() += 1,
        }
    }
    println!("{ran:5}  ran, {tasks} tasks");
    for (reason, count) in rows {
        println!("{count:5}  {reason}");
    }
}

/// All files, in an order that has nothing to do with who wrote them.
fn files(corpus: &Path) -> Vec<String> {
    let (mut found, mut todo): (Vec<String>, Vec<PathBuf>) = (Vec::new(), vec![corpus.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            if entry.path().is_dir() {
                todo.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(corpus) {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort_by_key(|path| model::seeded_uuid(&[path.as_bytes()]));
    found
}

/// Values for variables that somebody has to give.
fn inputs() -> Inputs {
    let given = [
        ("datacenters", serde_json::json!(["dc1"])),
        ("datacenter", "dc1".into()),
        ("region", "global".into()),
        ("domain", "example.org".into()),
        ("domains", serde_json::json!(["example.org"])),
    ];
    let variables = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Inputs { variables, ..Inputs::default() }
}

/// `None` for what has no task of ours.
fn read(corpus: &Path, path: &str) -> Option<Result<Stranger, String>> {
    let bytes = std::fs::read(corpus.join(path)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    if !["exec", "raw_exec", "java", "docker"].iter().any(|driver| {
        text.lines().any(|line| {
            let line: String = line.split_whitespace().collect();
            line.starts_with(&format!("driver=\"{driver}\""))
        })
    }) {
        return None;
    }
    let (mut inputs, mut variables) = (inputs(), BTreeSet::new());
    let parsed = loop {
        let parsed = parse(Source { path, bytes: text.as_bytes() }, &inputs);
        let missing = parsed.diagnostics.iter().find(|found| found.code == "missing-variable");
        let name = missing.and_then(|found| found.message.split('`').nth(1)).map(str::to_owned);
        match name {
            Some(name) if variables.insert(name.clone()) => {
                // A number, a text and a switch can all be written so.
                inputs.variables.insert(name, "1".into());
            }
            _ => break parsed,
        }
    };
    if parsed.has_errors() {
        let first = parsed.diagnostics.iter().find(|diagnostic| diagnostic.is_error())?;
        return Some(Err(format!("not accepted: {}: {}", first.code, first.message)));
    }
    let job = parsed.jobs.into_iter().next()?;
    let networks = job.task_groups.iter().flat_map(|group| &group.networks);
    let ports = networks.flat_map(|network| &network.reserved_ports).map(|port| port.value);
    let ports = ports.collect();
    Some(Ok(Stranger { path: path.to_owned(), text, job, ports, variables }))
}

/// Runs files of one datacenter and pool in waves.
fn run(
    datacenter: &str,
    pool: &str,
    mut strangers: Vec<Stranger>,
    until: Instant,
    fates: &mut BTreeMap<String, Fate>,
) {
    let repo = Repository::new();
    let jobs: Vec<&Job> = strangers.iter().map(|stranger| &stranger.job).collect();
    let mut stand_ins = StandIns::new(&jobs);
    repo.write("README", "jobs of strangers");
    repo.commit("nothing yet");
    let variables: BTreeSet<&String> = strangers.iter().flat_map(|one| &one.variables).collect();
    let variables: String = variables.iter().map(|name| format!("    {name} = \"1\"\n")).collect();
    let config = config(datacenter, pool, &repo, &stand_ins, &variables);
    let mut agent = Agent::start_configured(&config);
    while !strangers.is_empty() && Instant::now() < until {
        let (wave, rest) = split(strangers);
        strangers = rest;
        for stranger in &wave {
            stand_ins.images(&stranger.job);
            repo.write(&file_name(&stranger.path), stand_ins.text(&stranger.text));
        }
        repo.commit("a wave");
        watch(&mut agent, &wave, fates);
        for stranger in &wave {
            repo.remove(&file_name(&stranger.path));
        }
    }
}

/// What Herder takes for a job file, whatever the stranger called it.
fn file_name(path: &str) -> String {
    format!("{}.nomad.hcl", path.trim_end_matches(".hcl").trim_end_matches(".nomad"))
}

/// Files that can run at the same time, and the rest.
fn split(strangers: Vec<Stranger>) -> (Vec<Stranger>, Vec<Stranger>) {
    let (mut wave, mut rest): (Vec<Stranger>, Vec<Stranger>) = (Vec::new(), Vec::new());
    for stranger in strangers {
        let clashes = |other: &Stranger| {
            other.job.id == stranger.job.id || !other.ports.is_disjoint(&stranger.ports)
        };
        if wave.len() < TOGETHER && !wave.iter().any(clashes) {
            wave.push(stranger);
        } else {
            rest.push(stranger);
        }
    }
    (wave, rest)
}

fn config(
    datacenter: &str,
    pool: &str,
    repo: &Repository,
    stand_ins: &StandIns,
    variables: &str,
) -> String {
    let (url, rest) = (repo.path().display(), stand_ins.client_config());
    format!(
        r#"
log_level  = "info"
datacenter = "{datacenter}"
client {{
  node_pool         = "{pool}"
  cpu_total_compute = 1000000
  memory_total_mb   = 1000000
  meta {{
    fast_cpu   = "true"
    intel_gpu  = "true"
    nvidia_gpu = "true"
    rack       = "r1"
    type       = "server"
  }}
{rest}
}}
repo "strangers" {{
  url          = "{url}"
  max_removals = "100%"
  variables {{
    datacenters = ["dc1"]
    datacenter  = "dc1"
    region      = "global"
    domain      = "example.org"
    domains     = ["example.org"]
{variables}  }}
}}
"#
    )
}

/// Waits until each file of a wave ran or said why it does not.
fn watch(agent: &mut Agent, wave: &[Stranger], fates: &mut BTreeMap<String, Fate>) {
    let begin = Instant::now();
    let mut open: Vec<&Stranger> = wave.iter().collect();
    while !open.is_empty() {
        let since = begin.elapsed();
        open.retain(|stranger| match fate(agent, &stranger.job, since) {
            Some(fate) => {
                fates.insert(stranger.path.clone(), fate);
                false
            }
            None => true,
        });
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `None` while it is not known.
fn fate(agent: &Agent, job: &Job, since: Duration) -> Option<Fate> {
    let late = since > WAVE;
    let client = agent.client();
    if client.job(job.id.as_str()).is_err() {
        return late.then(|| Fate::Refused(not_taken(agent, job)));
    }
    if !job.starts_by_itself() {
        return Some(Fate::Ran { tasks: 0 });
    }
    let wanted: BTreeSet<(&str, &str)> = job
        .task_groups
        .iter()
        .filter(|group| group.count > 0)
        .flat_map(|group| group.tasks.iter().map(move |task| (group, task)))
        .filter(|(_, task)| {
            let hook = task.lifecycle.as_ref().map(|lifecycle| lifecycle.hook);
            hook != Some(model::LifecycleHook::Poststop)
        })
        .map(|(group, task)| (group.name.as_str(), task.name.as_str()))
        .collect();
    let allocs = client.job_allocations(job.id.as_str()).ok()?.into_value();
    let mut started = BTreeSet::new();
    let mut failures = Vec::new();
    let mut last = Vec::new();
    for alloc in &allocs {
        for (task, state) in &alloc.task_states {
            for event in &state.events {
                match event.kind.as_str() {
                    "Started" => _ = started.insert((alloc.task_group.as_str(), task.as_str())),
                    kind if kind.to_lowercase().contains("fail") => {
                        failures.push(event.display_message.clone())
                    }
                    _ => {}
                }
            }
            last.extend(state.events.last().map(|event| event.display_message.clone()));
        }
    }
    if wanted.iter().all(|task| started.contains(task)) {
        return Some(Fate::Ran { tasks: wanted.len() });
    }
    // Another's failure says the least.
    failures.sort_by_key(|failure| failure.contains("sibling"));
    if let Some(failure) = failures.first() {
        return Some(Fate::Refused(failure.clone()));
    }
    // Nothing more is to be expected of what has no place.
    let has_no_place = allocs.is_empty() && since > NO_PLACE;
    if !late && !has_no_place {
        return None;
    }
    let evaluations = client.job_evaluations(job.id.as_str()).ok()?.into_value();
    let unplaced: Vec<String> = evaluations
        .iter()
        .flat_map(|evaluation| evaluation.failed_tg_allocs.values())
        .map(|metric| {
            format!(
                "not placed: {:?} {:?} {}",
                metric.constraint_filtered, metric.dimension_exhausted, metric.reason
            )
        })
        .collect();
    let why = unplaced.into_iter().next_back().unwrap_or_else(|| {
        let constraints: Vec<_> = constraints(job);
        format!("not in time: {last:?}; it asks for {constraints:?}")
    });
    Some(Fate::Refused(why))
}

/// What the agent says of a file that it did not take.
fn not_taken(agent: &Agent, job: &Job) -> String {
    let status = agent.herder(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    format!("not taken: {}: {text}", job.id)
}

fn constraints(job: &Job) -> Vec<String> {
    let groups = job.task_groups.iter();
    let inner = groups.flat_map(|group| {
        group.constraints.iter().chain(group.tasks.iter().flat_map(|task| &task.constraints))
    });
    job.constraints.iter().chain(inner).map(|constraint| constraint.attribute.clone()).collect()
}
