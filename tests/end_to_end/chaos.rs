//! `kill -9` of the agent again and again while commits change, add and remove jobs. At quiet points an auditor compares
//! the machine with what the agent says of it.
//!
//! `HERDER_CHAOS_CYCLES` sets how often (20 by default), `HERDER_CHAOS_SEED` repeats a run; a failure prints its seed.

mod auditor;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::auditor::audit;
use crate::agent::Agent;
use crate::docker::{HERDER_IMAGE, available};
use crate::repository::Repository;

/// Cycles between two audits.
const QUIET_EVERY: u32 = 3;

#[test]
fn kill_9_at_any_moment_neither_doubles_nor_loses_a_task() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("HERDER_CHAOS_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::try_from(now.as_nanos() % 1_000_000_007).expect("fits")
    });
    eprintln!("HERDER_CHAOS_SEED={seed}");
    let cycles = number("HERDER_CHAOS_CYCLES").and_then(|cycles| u32::try_from(cycles).ok());
    run(&mut Dice(seed), cycles.unwrap_or(20));
}

fn run(dice: &mut Dice, cycles: u32) {
    let repo = Repository::new();
    let mut wanted = Wanted { docker: available(), ..Wanted::default() };
    for kind in [Kind::Service, Kind::Service, Kind::Batch, Kind::Crash, Kind::Docker] {
        wanted.add(kind, dice);
    }
    wanted.commit(&repo);
    let mut agent = Agent::start(&repo, &[]);
    for cycle in 1..=cycles {
        for _ in 0..=dice.below(2) {
            wanted.change(dice);
        }
        wanted.commit(&repo);
        // Anywhere from before the agent has heard of it to the midst of a rollout.
        std::thread::sleep(Duration::from_millis(dice.below(900)));
        agent.kill();
        if dice.below(3) == 0 {
            wanted.change(dice);
            wanted.commit(&repo);
            std::thread::sleep(Duration::from_millis(dice.below(500)));
        }
        agent.launch();
        if dice.below(3) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(150)));
            agent.kill();
            agent.launch();
        }
        if cycle % QUIET_EVERY == 0 || cycle == cycles {
            settle(&mut agent, &wanted, cycle);
        }
    }
}

/// Waits until the machine is as the commit says, and stays so when the agent is killed once more.
fn settle(agent: &mut Agent, wanted: &Wanted, cycle: u32) {
    for round in ["after the storm", "after one more kill"] {
        let mut last = String::new();
        let begin = std::time::Instant::now();
        while let Err(problem) = audit(agent, &wanted.jobs) {
            if problem != last {
                eprintln!("{:?} {problem}", begin.elapsed());
            }
            last = problem;
            assert!(
                begin.elapsed() < crate::agent::PATIENCE,
                "cycle {cycle}, {round}: {last}\n{}",
                String::from_utf8_lossy(&agent.herder(&["status"]).stdout)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("cycle {cycle}, {round}: {} ms", begin.elapsed().as_millis());
        agent.kill();
        agent.launch();
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs for ever.
    Service,
    /// The same in a container.
    Docker,
    /// Ends well.
    Batch,
    /// Ends badly, three times.
    Crash,
}

/// A job as the newest commit has it.
#[derive(Clone, Debug)]
pub(crate) struct JobWanted {
    pub(crate) kind: Kind,
    pub(crate) count: u64,
    pub(crate) release: u64,
}

/// The newest commit.
#[derive(Default)]
struct Wanted {
    jobs: BTreeMap<String, JobWanted>,
    docker: bool,
    /// Numbers jobs and releases.
    next: u64,
}

impl Wanted {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn add(&mut self, kind: Kind, dice: &mut Dice) {
        let kind = if kind == Kind::Docker && !self.docker { Kind::Service } else { kind };
        let number = self.number();
        let name = format!("{}-{number}", format!("{kind:?}").to_lowercase());
        let count = if kind == Kind::Service { 1 + dice.below(3) } else { 1 };
        self.jobs.insert(name, JobWanted { kind, count, release: number });
    }

    fn change(&mut self, dice: &mut Dice) {
        let names: Vec<_> = self.jobs.keys().cloned().collect();
        let name = dice.pick(&names);
        let release = self.number();
        match dice.below(6) {
            0 if names.len() < 9 => {
                let kinds = [Kind::Service, Kind::Batch, Kind::Crash, Kind::Docker];
                let kind = *dice.pick(&kinds);
                self.add(kind, dice);
            }
            // Few at a time, or the deletion budget holds them.
            1 if names.len() > 5 => {
                self.jobs.remove(name);
            }
            2 => {
                let count = 1 + dice.below(3);
                self.jobs.entry(name.clone()).and_modify(|job| {
                    job.count = if job.kind == Kind::Service { count } else { 1 }
                });
            }
            _ => {
                self.jobs.entry(name.clone()).and_modify(|job| job.release = release);
            }
        }
    }

    fn commit(&self, repo: &Repository) {
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
    /// Each start of the task leaves a line, written by nobody but the task itself.
    fn text(&self, name: &str) -> String {
        let script = match self.kind {
            Kind::Service => "echo start >> $NOMAD_ALLOC_DIR/starts; exec sleep 100000",
            Kind::Docker => "echo start >> $NOMAD_ALLOC_DIR/starts; exec /bin/busybox sleep 100000",
            Kind::Batch => "echo start >> $NOMAD_ALLOC_DIR/starts; sleep 0.4",
            Kind::Crash => "echo start >> $NOMAD_ALLOC_DIR/starts; sleep 0.2; exit 3",
        };
        let (kind, policy) = match self.kind {
            Kind::Service | Kind::Docker => (
                "service",
                "update {\n min_healthy_time = \"100ms\"\n healthy_deadline = \"60s\"\n \
                 progress_deadline = \"80s\"\n max_parallel = 2\n}",
            ),
            Kind::Batch | Kind::Crash => {
                ("batch", "reschedule {\n attempts = 0\n unlimited = false\n}")
            }
        };
        let (driver, config) = match self.kind {
            Kind::Docker => ("docker", format!("image = {HERDER_IMAGE:?}\n command = \"/bin/sh\"")),
            _ => ("raw_exec", "command = \"/bin/sh\"".to_owned()),
        };
        let (count, release) = (self.count, self.release);
        format!(
            r#"
job "{name}" {{
  type = "{kind}"
  group "g" {{
    count = {count}
    {policy}
    restart {{
      attempts = 2
      interval = "1h"
      delay    = "100ms"
      mode     = "fail"
    }}
    task "t" {{
      driver = "{driver}"
      kill_timeout = "1s"
      config {{
        {config}
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
  }}
}}
"#
        )
    }
}

/// Numbers that look random and come again with the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(items.len() as u64)).expect("fits");
        &items[place]
    }
}
