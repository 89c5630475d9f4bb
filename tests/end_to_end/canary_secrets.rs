//! Secrets that are planted where job files have them, and looked for wherever they do not belong: the agent's log, command
//! lines, other processes' environments, answers of commands and of the API, events, files, and what a crash leaves.
//!
//! The rule: a task gets its secrets, and whoever may read the repository, the log of decisions or the node's records
//! (files that the agent's user alone can read) finds them there. Nobody else does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use model::ClientStatus;

use crate::agent::{Agent, processes_in};
use crate::docker::{HERDER_IMAGE, available as has_docker};
use crate::load::get;
use crate::repository::Repository;

/// Where each was planted, and what it is.
const CANARIES: [(&str, &str); 12] = [
    ("a variable of raw_exec", "canary-Zq81-raw-variable"),
    ("an argument of raw_exec", "canary-Zq82-raw-argument"),
    ("a variable of exec", "canary-Zq83-exec-variable"),
    ("a variable of docker", "canary-Zq84-docker-variable"),
    ("a registry's password", "canary-Zq85-registry-password"),
    ("a variable of a task that crashes", "canary-Zq86-crash-variable"),
    ("a variable of a version that was replaced", "canary-Zq87-old-variable"),
    ("an address with a password", "canary-Zq88-address"),
    ("a variable that is not deployed yet", "canary-Zq89-planned-variable"),
    ("an artifact's header", "canary-Zq90-artifact-header"),
    ("an artifact's address", "canary-Zq91-artifact-address"),
    ("an artifact's login", "canary-Zq92-artifact-login"),
];

const JOBS: [&str; 8] = ["keeper", "crash", "crash2", "apart", "box", "pull", "refused", "absent"];

fn canary(number: usize) -> &'static str {
    CANARIES[number - 1].1
}

/// A job of one task.
fn job(name: &str, driver: &str, config: &str, env: &[(&str, &str)]) -> String {
    let env: String =
        env.iter().map(|(name, value)| format!("        {name} = {value:?}\n")).collect();
    format!(
        r#"
job "{name}" {{
  group "g" {{
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    update {{
      min_healthy_time  = "100ms"
      healthy_deadline  = "20s"
      progress_deadline = "60s"
    }}
    task "t" {{
      driver = "{driver}"
      config {{
        {config}
      }}
      env {{
{env}      }}
      resources {{
        cpu    = 10
        memory = 16
      }}
    }}
  }}
}}
"#
    )
}

/// Who found what.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn look(&mut self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for (planted, canary) in CANARIES {
            if let Some(at) = text.find(canary) {
                let before = text[..at].chars().rev().take(60).collect::<Vec<_>>();
                let before: String = before.into_iter().rev().collect();
                self.0.push(format!("{place}: {planted}: …{before}<canary>"));
            }
        }
    }

    fn none(mut self) {
        self.0.sort();
        self.0.dedup();
        assert!(self.0.is_empty(), "secrets where they do not belong:\n{}", self.0.join("\n"));
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// The jobs; `keeper` in its first version.
fn plant(repo: &Repository) -> Vec<&'static str> {
    let mut running = vec!["keeper"];
    repo.write("keeper.nomad", keeper(canary(7)));
    let crash = "command = \"/bin/sh\"\n        args = [\"-c\", \"kill -SEGV $$\"]";
    repo.write("crash.nomad", job("crash", "raw_exec", crash, &[("API_TOKEN", canary(6))]));
    // One that is refused before it is asked for, and one that is asked for and is not there.
    for (name, host) in [("refused", "169.254.169.254"), ("absent", "127.0.0.1:1")] {
        let artifact = format!(
            "artifact {{\n        source = \"http://me:{}@{host}/a?token={}\"\n        headers {{\n          \
             Authorization = \"Bearer {}\"\n        }}\n      }}\n      env {{",
            canary(12),
            canary(11),
            canary(10)
        );
        let text = job(name, "raw_exec", crash, &[("A", "b")]).replacen("env {", &artifact, 1);
        repo.write(&format!("{name}.nomad"), text);
    }
    if is_root() {
        let config = "command = \"/bin/sleep\"\n        args = [\"1000\"]";
        repo.write("apart.nomad", job("apart", "exec", config, &[("API_TOKEN", canary(3))]));
        repo.write("crash2.nomad", job("crash2", "exec", crash, &[("API_TOKEN", canary(6))]));
        running.push("apart");
    }
    if has_docker() {
        let config = format!(
            "image = {HERDER_IMAGE:?}\n        command = \"/bin/busybox\"\n        args = [\"sleep\", \"1000\"]\n        auth {{\n          username = \"me\"\n          password = {:?}\n        }}",
            canary(5)
        );
        let env = [("API_TOKEN", canary(4))];
        repo.write("box.nomad", job("box", "docker", &config, &env));
        let missing = config.replace(HERDER_IMAGE, "127.0.0.1:1/no/such:image");
        repo.write("pull.nomad", job("pull", "docker", &missing, &env));
        running.push("box");
    }
    running
}

fn keeper(secret: &str) -> String {
    let script = "test -n \"$DB_PASSWORD\" && touch $NOMAD_ALLOC_DIR/has-it; exec sleep 1000";
    let config = format!(
        "command = \"/bin/sh\"\n        args = [\"-c\", {script:?}, \"sh\", \"--api-token={}\"]",
        canary(2)
    );
    let address = format!("postgres://me:{}@db.example.org/x", canary(8));
    job("keeper", "raw_exec", &config, &[("DB_PASSWORD", secret), ("DATABASE_URL", &address)])
}

#[test]
fn secrets_are_found_nowhere_but_where_they_belong() {
    let repo = Repository::new();
    let running = plant(&repo);
    repo.commit("all kinds of secrets");
    let mut agent = Agent::start(&repo, &["--log-level=trace"]);
    for job in &running {
        agent.wait_running(job, 1);
    }
    let mut ended = vec!["crash", "refused", "absent"];
    ended.extend(is_root().then_some("crash2"));
    ended.extend(has_docker().then_some("pull"));
    for job in ended {
        agent.wait_for(&format!("`{job}` to fail"), |agent| {
            let allocs = agent.client().job_allocations(job).ok()?.into_value();
            allocs.iter().any(|alloc| alloc.client_status == ClientStatus::Failed).then_some(())
        });
    }
    // The secret changes: what was and what is are both in diffs.
    let old = agent.running("keeper").remove(0).id;
    repo.write("keeper.nomad", keeper(canary(1)));
    repo.commit("another password");
    let alloc = agent.wait_for("the new version", |agent| {
        agent.running("keeper").into_iter().find(|alloc| alloc.id != old)
    });
    let has_it = agent.data_dir().join("alloc").join(alloc.id.to_string()).join("alloc/has-it");
    agent.wait_for("the task to say that it has its secret", |_| has_it.exists().then_some(()));
    let mut findings = Findings::default();
    look_at_processes(&agent, &mut findings);
    look_at_answers(&repo, &mut agent, &mut findings);
    look_at_files(&agent.data_dir(), &mut findings);
    // Also after another agent took all of it over.
    agent.kill();
    agent.launch();
    for job in &running {
        agent.wait_running(job, 1);
    }
    look_at_processes(&agent, &mut findings);
    look_at_files(&agent.data_dir(), &mut findings);
    findings.look("the agent's log", agent.log().as_bytes());
    findings.none();
}

/// Nobody but a task has its secrets in its memory's visible parts.
fn look_at_processes(agent: &Agent, findings: &mut Findings) {
    let mut seen = 0;
    for pid in processes_in(&agent.data_dir()) {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (environment, arguments) = (read("environ"), read("cmdline"));
        let words = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let is_tasks_own = String::from_utf8_lossy(&environment).contains("NOMAD_TASK_NAME=");
        if is_tasks_own {
            seen += 1;
            // Its own, and no other task's.
            let text = String::from_utf8_lossy(&environment).into_owned();
            let holds: Vec<_> = CANARIES.iter().filter(|(_, one)| text.contains(one)).collect();
            let job = text.split('\0').find_map(|pair| pair.strip_prefix("NOMAD_JOB_NAME="));
            let allowed: &[usize] = match job {
                Some("keeper") => &[1, 7, 8],
                Some("apart") => &[3],
                _ => &[6],
            };
            for (planted, value) in holds {
                if !allowed.iter().any(|number| canary(*number) == *value) {
                    findings.0.push(format!("the environment of {job:?}: {planted}"));
                }
            }
            continue;
        }
        findings.look(&format!("the arguments of `{words}`"), &arguments);
        findings.look(&format!("the environment of `{words}`"), &environment);
    }
    assert!(seen > 0, "no task was looked at");
}

fn look_at_answers(repo: &Repository, agent: &mut Agent, findings: &mut Findings) {
    // A change that is not committed, for the plan.
    repo.write("keeper.nomad", keeper(canary(9)));
    let file = repo.file("keeper.nomad").display().to_string();
    let allocs: Vec<_> = JOBS
        .into_iter()
        .filter_map(|job| Some(agent.client().job_allocations(job).ok()?.into_value()))
        .flatten()
        .collect();
    let mut commands: Vec<Vec<String>> = [
        "status",
        "job status",
        "job status keeper",
        "job history -patch keeper",
        "job history -patch box",
        "deployment status keeper",
        "deployment list",
        "service list",
        "node status",
        "hold list",
        "log",
        "plan",
    ]
    .iter()
    .map(|words| words.split(' ').map(str::to_owned).collect())
    .collect();
    commands.push(vec!["plan".to_owned(), file.clone()]);
    commands.push(vec!["validate".to_owned(), file]);
    for alloc in &allocs {
        let id = alloc.id.to_string();
        for words in [&["alloc", "status"][..], &["alloc", "logs"], &["alloc", "logs", "-stderr"]] {
            let words = words.iter().map(|word| (*word).to_owned());
            commands.push(words.chain([id.clone()]).collect());
        }
    }
    for command in commands {
        for json in [false, true] {
            let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
            words.extend(json.then_some("-json"));
            let output = agent.herder(&words);
            findings.look(&format!("herder {}", words.join(" ")), &output.stdout);
            findings.look(&format!("herder {}", words.join(" ")), &output.stderr);
        }
    }
    look_at_bundle(agent, findings);
    let mut routes: Vec<String> = [
        "jobs",
        "agent/members",
        "agent/loops",
        "operator/raft/configuration",
        "operator/lost-nodes",
        // Holds everything, and so is nobody's without the owner's key.
        "operator/snapshot",
        "allocations",
        "allocations?task_states=true&resources=true",
        "nodes",
        "evaluations",
        "deployments",
        "services",
        "agent/self",
        "agent/health",
        "metrics",
        "metrics?format=prometheus",
        "gitops/status",
        "gitops/revisions",
    ]
    .map(str::to_owned)
    .to_vec();
    for job in JOBS {
        for part in ["", "/allocations", "/evaluations", "/deployments", "/deployment", "/summary"]
        {
            routes.push(format!("job/{job}{part}"));
        }
        routes.push(format!("job/{job}/versions?diffs=true"));
    }
    for alloc in &allocs {
        routes.push(format!("allocation/{}", alloc.id));
        routes.push(format!("node/{}/allocations", alloc.node_id));
        routes.push(format!("evaluation/{}", alloc.eval_id));
    }
    let mut answers = BTreeMap::new();
    for route in routes {
        let body = get(agent.http, &format!("/v1/{route}")).unwrap_or_else(|e| e.to_string());
        answers.insert(route, body);
    }
    for (route, body) in &answers {
        findings.look(&format!("GET /v1/{route}"), body.as_bytes());
    }
    // It would prove nothing if nobody answered.
    assert!(answers["job/keeper"].contains("DB_PASSWORD"), "{}", answers["job/keeper"]);
    for route in ["agent/self", "catalog/services", "catalog/nodes"] {
        let body = get(agent.catalog, &format!("/v1/{route}")).unwrap_or_else(|e| e.to_string());
        findings.look(route, body.as_bytes());
    }
}

/// What operators send to others holds nothing that is theirs alone.
fn look_at_bundle(agent: &Agent, findings: &mut Findings) {
    let dir = tempfile::tempdir().expect("a directory");
    let bundle = dir.path().join("bundle.tar.gz").display().to_string();
    let log = agent.data_dir().parent().expect("a directory").join("agent.log");
    let log = log.display().to_string();
    let output = agent.herder(&["operator", "debug", "-output", &bundle, "-log-file", &log]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new("tar").args(["-xzOf", &bundle]).output().expect("tar runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["keeper", "herder_raft_term", "reconciler", "RaftProtocol", "agent is ready"] {
        assert!(text.contains(part), "{part} is not in the bundle");
    }
    findings.look("the bundle of `operator debug`", text.as_bytes());
}

/// All files but the log of decisions, the mirror of the repository and the node's records, which only the agent's user
/// can read.
fn look_at_files(data_dir: &Path, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt as _;
    let closed = ["raft", "git", "client", "client/allocs"].map(|name| data_dir.join(name));
    for dir in closed {
        let mode = fs::metadata(&dir).expect("is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others", dir.display());
    }
    let known = ["raft", "git", "client/allocs"].map(|name| data_dir.join(name));
    let mut todo = vec![data_dir.to_owned()];
    let mut cores = Vec::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if known.contains(&path) {
                continue;
            }
            match kind {
                Ok(kind) if kind.is_dir() => todo.push(path),
                Ok(kind) if kind.is_file() => {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if name == "core" || name.starts_with("core.") {
                        cores.push(path.clone());
                    }
                    findings.look(&path.display().to_string(), &fs::read(path).unwrap_or_default());
                }
                _ => {}
            }
        }
    }
    assert!(cores.is_empty(), "crashes left {cores:?}");
    // Nor beside the tests, where a core would be if the directory was not the task's own.
    let here = fs::read_dir(".").into_iter().flatten().flatten();
    let cores = here.filter(|entry| entry.file_name().to_string_lossy().starts_with("core."));
    assert_eq!(cores.count(), 0);
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim().starts_with('/')
        && let Some(dir) = Path::new(pattern.trim()).parent().and_then(Path::to_str)
    {
        let found = Command::new("grep").args(["-rlF", canary(6), dir]).output();
        let found = found.map(|output| output.stdout).unwrap_or_default();
        assert!(found.is_empty(), "a crash left {}", String::from_utf8_lossy(&found));
    }
}
