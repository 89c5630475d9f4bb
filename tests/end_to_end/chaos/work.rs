//! The jobs that come and go, and what is to be seen of each.

use std::collections::BTreeMap;

use super::dice::Dice;
use crate::docker::{HERDER_IMAGE, available};
use crate::repository::Repository;

/// About how many tasks the newest commit asks for.
const TASKS: u64 = 50;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Processes that run for ever.
    Service,
    /// The same, kept apart from the node.
    Exec,
    /// Two tasks in a group, one of each.
    Pair,
    /// Containers that run for ever.
    Docker,
    /// A container and a process that is kept apart, with a network of their own.
    Bridge,
    /// Processes that end well.
    Batch,
    /// The same, kept apart.
    ExecBatch,
    /// A container that ends well.
    DockerBatch,
    /// Ends badly, three times.
    Crash,
}

use Kind::{Batch, Bridge, Crash, Docker, DockerBatch, Exec, ExecBatch, Pair, Service};

const KINDS: [Kind; 9] =
    [Service, Exec, Pair, Docker, Bridge, Batch, ExecBatch, DockerBatch, Crash];

impl Kind {
    /// Whether its tasks come to an end of their own.
    pub(super) const fn ends(self) -> bool {
        matches!(self, Batch | ExecBatch | DockerBatch | Crash)
    }

    /// The exit code of each end of its own.
    pub(super) const fn code(self) -> i32 {
        if matches!(self, Crash) { 3 } else { 0 }
    }

    /// Tasks of a group and their drivers.
    pub(super) const fn drivers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Service | Batch | Crash => &[("t", "raw_exec")],
            Exec | ExecBatch => &[("t", "exec")],
            Docker | DockerBatch => &[("t", "docker")],
            Pair => &[("t", "raw_exec"), ("u", "exec")],
            Bridge => &[("t", "docker"), ("u", "exec")],
        }
    }

    const fn most(self) -> u64 {
        match self {
            Service | Exec => 5,
            Pair | Batch | ExecBatch => 3,
            Docker | Bridge => 2,
            DockerBatch | Crash => 1,
        }
    }

    /// What can run here.
    fn offered(self) -> Self {
        match self {
            Bridge if !has_networks() => Pair.offered(),
            Docker if !available() => Service,
            DockerBatch if !available() => Batch,
            Exec | Pair if !is_root() => Service,
            ExecBatch if !is_root() => Batch,
            other => other,
        }
    }
}

fn has_networks() -> bool {
    available() && is_root() && std::path::Path::new("/usr/lib/cni/bridge").exists()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A job as the newest commit has it.
#[derive(Clone, Debug)]
pub(super) struct JobWanted {
    pub(super) kind: Kind,
    pub(super) count: u64,
    pub(super) release: u64,
}

/// The newest commit.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) jobs: BTreeMap<String, JobWanted>,
    /// Numbers jobs and releases.
    next: u64,
}

impl Wanted {
    pub(super) fn fifty_tasks(dice: &mut Dice) -> Self {
        let mut wanted = Self::default();
        for kind in KINDS.into_iter().cycle() {
            wanted.add(kind, dice);
            if wanted.tasks() >= TASKS {
                break;
            }
        }
        wanted
    }

    pub(super) fn tasks(&self) -> u64 {
        self.jobs.values().map(|job| job.count * job.kind.drivers().len() as u64).sum()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn add(&mut self, kind: Kind, dice: &mut Dice) {
        let kind = kind.offered();
        let number = self.number();
        let name = format!("{}-{number}", format!("{kind:?}").to_lowercase());
        let count = 1 + dice.below(kind.most());
        self.jobs.insert(name, JobWanted { kind, count, release: number });
    }

    pub(super) fn change(&mut self, dice: &mut Dice) {
        let names: Vec<_> = self.jobs.keys().cloned().collect();
        let name = dice.pick(&names).clone();
        let release = self.number();
        let (few, many) = (self.tasks() < TASKS - 5, self.tasks() > TASKS + 5);
        match dice.below(6) {
            // Few at a time, or the deletion budget holds them.
            0 | 1 if many => {
                self.jobs.remove(&name);
            }
            0 | 1 if few => {
                let kind = *dice.pick(&KINDS);
                self.add(kind, dice);
            }
            0 => {
                self.jobs.remove(&name);
                let kind = *dice.pick(&KINDS);
                self.add(kind, dice);
            }
            1 | 2 => {
                if let Some(job) = self.jobs.get_mut(&name).filter(|job| !job.kind.ends()) {
                    job.count = 1 + dice.below(job.kind.most());
                }
            }
            _ => {
                if let Some(job) = self.jobs.get_mut(&name) {
                    job.release = release;
                }
            }
        }
    }

    pub(super) fn commit(&self, repo: &Repository) {
        // One that came and went between two commits has no file.
        for entry in std::fs::read_dir(repo.path()).expect("the repository") {
            let file = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            if file.strip_suffix(".nomad").is_some_and(|name| !self.jobs.contains_key(name)) {
                repo.remove(&file);
            }
        }
        for (name, job) in &self.jobs {
            repo.write(&format!("{name}.nomad"), job.text(name));
        }
        repo.commit("a change");
    }
}

impl JobWanted {
    fn text(&self, name: &str) -> String {
        let (kind, policy) = if self.kind.ends() {
            ("batch", "reschedule {\n attempts = 0\n unlimited = false\n}")
        } else {
            (
                "service",
                "update {\n min_healthy_time = \"100ms\"\n healthy_deadline = \"60s\"\n \
                 progress_deadline = \"170s\"\n max_parallel = 2\n}",
            )
        };
        let tasks: String =
            self.kind.drivers().iter().map(|(task, driver)| self.task(task, driver)).collect();
        let count = self.count;
        let network = if self.kind == Bridge { "network {\n mode = \"bridge\"\n}" } else { "" };
        format!(
            r#"
job "{name}" {{
  type = "{kind}"
  group "g" {{
    count = {count}
    {network}
    ephemeral_disk {{
      size = 10
    }}
    {policy}
    restart {{
      attempts = 2
      interval = "1h"
      delay    = "100ms"
      mode     = "fail"
    }}
    {tasks}
  }}
}}
"#
        )
    }

    /// Each start of the task leaves a line, written by nobody but the task itself.
    fn task(&self, task: &str, driver: &str) -> String {
        let sleep = if driver == "docker" { "/bin/busybox sleep" } else { "sleep" };
        let then = match self.kind {
            Batch | ExecBatch | DockerBatch => format!("{sleep} 0.4"),
            Crash => format!("{sleep} 0.2; exit 3"),
            Service | Exec | Pair | Docker | Bridge => format!("exec {sleep} 100000"),
        };
        let script = format!("echo start >> $NOMAD_ALLOC_DIR/data/starts.{task}; {then}");
        let image =
            if driver == "docker" { format!("image = {HERDER_IMAGE:?}") } else { String::new() };
        let release = self.release;
        format!(
            r#"
    task "{task}" {{
      driver = "{driver}"
      kill_timeout = "1s"
      logs {{
        max_files     = 1
        max_file_size = 1
      }}
      config {{
        {image}
        command = "/bin/sh"
        args = ["-c", {script:?}]
      }}
      env {{
        RELEASE = "{release}"
      }}
      resources {{
        cpu    = 10
        memory = 16
      }}
    }}
"#
        )
    }
}
