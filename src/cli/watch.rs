//! Watching a rollout: a bar per group on a terminal, a line per change elsewhere.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use client::{Client, Listing};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::wire::{AllocListStub, DeploymentGroupView, DeploymentView};
use model::{AllocId, DeploymentStatus};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;

/// How long one question to the agent waits for a change; the clock of the deadline moves at least this often.
const WAIT: Duration = Duration::from_secs(1);
/// How long a commit that was just made may take to become a deployment before we show what there is.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Lets the agent take in what was committed a moment ago, so that a rollout that is watched is the one that was just
/// asked for. Whatever goes wrong here shows in what follows.
pub(crate) fn catch_up(client: &Client) {
    if client.check_now(None).is_err() {
        return;
    }
    let began = Instant::now();
    while began.elapsed() < CATCH_UP {
        let Ok(status) = client.gitops_status(None) else { return };
        let taken_in =
            status.repos.iter().all(|repo| repo.seen.is_none() || repo.seen == repo.head);
        let Ok(jobs) = client.jobs(&Listing::default()) else { return };
        let Ok(deployments) = client.deployments(&Listing::default()) else { return };
        let newest: BTreeMap<_, _> =
            deployments.iter().fold(BTreeMap::new(), |mut newest, deployment| {
                let version = newest.entry(&deployment.job_id).or_insert(deployment.job_version);
                *version = deployment.job_version.max(*version);
                newest
            });
        let planned = jobs.iter().all(|job| {
            job.stop || newest.get(&job.id).is_none_or(|version| *version == job.version)
        });
        if taken_in && planned {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Watches until the deployment ends. Exit code 0 if it succeeded, 1 otherwise.
pub(crate) fn deployment(
    connection: &Connection,
    first: DeploymentView,
) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    let mut screen = Screen::new(&first);
    let mut current = first;
    let mut seen = BTreeMap::new();
    loop {
        let allocs = client.deployment_allocations(current.id)?.into_value();
        if connection.json() {
            output::json(&current)?;
        } else {
            screen.show(&current);
            tell_verdicts(&screen, &allocs, &mut seen);
        }
        if !current.status.is_active() {
            break;
        }
        if current.needs_promotion() && !can_go_on_by_itself(&current) {
            screen.say("waiting for promotion: `herder deployment promote` goes on, `herder deployment fail` goes back");
        }
        current = next(&client, &current)?;
    }
    screen.end();
    if !connection.json() {
        crate::deployment::describe(connection, &current);
    }
    Ok(if current.status == DeploymentStatus::Successful {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn next(client: &Client, current: &DeploymentView) -> Result<DeploymentView, Failure> {
    Ok(client.wait(current.modify_index, WAIT).deployment(current.id)?.into_value())
}

fn can_go_on_by_itself(deployment: &DeploymentView) -> bool {
    deployment.task_groups.values().any(|group| {
        let canaries_ready = group.healthy_allocs >= group.desired_canaries;
        group.auto_promote || group.promoted || group.desired_canaries == 0 || !canaries_ready
    })
}

fn tell_verdicts(screen: &Screen, allocs: &[AllocListStub], seen: &mut BTreeMap<AllocId, bool>) {
    for alloc in allocs {
        let Some(status) = &alloc.deployment_status else { continue };
        let Some(healthy) = status.healthy else { continue };
        if seen.insert(alloc.id, healthy) != Some(healthy) && !healthy {
            screen.say(&format!(
                "{} {} is unhealthy: {}",
                alloc.id.short(),
                alloc.name,
                status.reason
            ));
        }
    }
}

/// The bars, or what stands in for them where there is no terminal.
struct Screen {
    bars: MultiProgress,
    groups: BTreeMap<String, ProgressBar>,
    last: std::cell::RefCell<String>,
    terminal: bool,
}

impl Screen {
    fn new(deployment: &DeploymentView) -> Self {
        let terminal = console::Term::stderr().is_term();
        let target =
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let width = deployment.task_groups.keys().map(String::len).max().unwrap_or(0);
        let style = ProgressStyle::with_template("{prefix}  [{bar:30.green}] {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("█▌ ");
        let groups = deployment
            .task_groups
            .iter()
            .map(|(name, group)| {
                let bar = bars.add(ProgressBar::new(u64::from(group.desired_total)));
                bar.set_style(style.clone());
                bar.set_prefix(format!("{name:width$}"));
                (name.clone(), bar)
            })
            .collect();
        anstream::eprintln!(
            "deployment {} of job `{}` version {} ({})",
            deployment.id.short(),
            deployment.job_id,
            deployment.job_version,
            deployment.commit.short()
        );
        Self { bars, groups, last: std::cell::RefCell::default(), terminal }
    }

    fn show(&mut self, deployment: &DeploymentView) {
        let mut lines = Vec::new();
        for (name, group) in &deployment.task_groups {
            let words = describe(group);
            if let Some(bar) = self.groups.get(name) {
                bar.set_length(u64::from(group.desired_total));
                bar.set_position(u64::from(group.healthy_allocs));
                bar.set_message(format!("{words}{}", time_left(deployment, group)));
            }
            lines.push(format!("{name}: {words}"));
        }
        let line = lines.join("; ");
        if !self.terminal {
            self.say(&format!("{} {line}", deployment.status.as_str()));
        }
    }

    fn say(&self, text: &str) {
        if *self.last.borrow() == text {
            return;
        }
        text.clone_into(&mut self.last.borrow_mut());
        if self.terminal {
            // Where the bars cannot be drawn any more, the words are lost too.
            let _ = self.bars.println(text);
        } else {
            anstream::eprintln!("{text}");
        }
    }

    fn end(&mut self) {
        for bar in self.groups.values() {
            bar.abandon();
        }
        anstream::eprintln!();
    }
}

fn describe(group: &DeploymentGroupView) -> String {
    let in_batch =
        group.placed_allocs.saturating_sub(group.healthy_allocs + group.unhealthy_allocs);
    let waiting = if group.promoted { 0 } else { group.desired_canaries };
    let mut words = vec![format!("{}/{} healthy", group.healthy_allocs, group.desired_total)];
    for (count, what) in [
        (in_batch, "in this batch"),
        (group.unhealthy_allocs, "unhealthy"),
        (waiting, "canaries not promoted"),
    ] {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    }
    words.join(", ")
}

fn time_left(deployment: &DeploymentView, group: &DeploymentGroupView) -> String {
    if !deployment.status.is_active() || group.require_progress_by.is_zero() {
        return String::new();
    }
    format!(", {} to the deadline", output::span(group.require_progress_by.since(output::now())))
}
