//! A running task whose templates may have other results: they are rendered again, and what the job says about a change
//! is done. Level-triggered by what came: nothing is kept of it over an agent's restart, because the files on the disk say
//! what was rendered last.

use std::time::Duration;

use super::ops::OpContext;
use super::{Done, Runner};
use crate::lifecycle::{Event, Phase};
use crate::prepare::{Changes, Preparing, rerender};
use crate::task_env::{env_of, task_paths};

/// What was said and what is wanted for the task.
pub(super) struct Rerendered {
    pub said: Vec<(&'static str, String)>,
    /// Start it again, and why.
    pub restart: Option<String>,
}

impl OpContext {
    async fn rerender(self) -> Option<Rerendered> {
        let group = self.job.job.group(&self.alloc.group)?;
        let task = &self.allowed(group.task(&self.task)?);
        let handle = self.handle.as_ref()?;
        let driver = self.shared.drivers.get(&handle.driver)?.clone();
        let dirs = self.shared.dirs.of_task(self.alloc.id, &self.task);
        let paths = task_paths(&*driver, &dirs);
        let job = &self.job.job;
        let env = env_of(&self.alloc, job, group, Some((task, &paths)), &self.shared.options.node);
        let preparing = Preparing {
            shared: &self.shared,
            alloc: &self.alloc,
            job,
            group,
            task,
            dirs: &dirs,
            env: &env,
            payload: &self.job.payload,
            restarted: true,
            progress: &self.progress,
        };
        let mut said = Vec::new();
        let Changes { mut restart, signals, scripts } = match rerender(&preparing).await {
            Ok((changes, splay)) => {
                tokio::time::sleep(splay).await;
                changes
            }
            Err(unprepared) => {
                // What runs has what it was started with, and runs on.
                said.push((unprepared.kind, unprepared.message));
                return Some(Rerendered { said, restart: None });
            }
        };
        for signal in signals {
            let words = match driver.signal(handle, &signal).await {
                Ok(()) => format!("Template re-rendered: {signal} was sent"),
                Err(error) => {
                    format!("Template re-rendered, and {signal} could not be sent: {error}")
                }
            };
            said.push(("Signaling", words));
        }
        for script in scripts {
            let ran = driver.exec(handle, &script.command, &script.args, script.timeout).await;
            let problem = match ran {
                Ok(output) if output.exit_code == 0 => None,
                Ok(output) => Some(format!("exit code {}", output.exit_code)),
                Err(error) => Some(error.to_string()),
            };
            let command = &script.command;
            let words = match problem {
                None => format!("Template ran script `{command}`"),
                Some(problem) => {
                    let words = format!("Template failed to run script `{command}`: {problem}");
                    if script.fail_on_error {
                        restart.get_or_insert_with(|| words.clone());
                    }
                    words
                }
            };
            said.push(("Template", words));
        }
        Some(Rerendered { said, restart })
    }
}

impl Runner {
    /// Renders the templates of all running tasks again: what they are rendered with has changed.
    pub(super) fn rerender(&mut self) {
        let job = self.record.job.clone();
        let Some(group) = job.job.group(&self.record.alloc.group) else { return };
        for task in group.tasks.iter().filter(|task| task.templates.iter().any(|t| !t.once)) {
            let run = self.record.lifecycle.tasks.get(&task.name);
            if !run.is_some_and(|run| run.phase == Phase::Running && run.stopping.is_none()) {
                continue;
            }
            let context = self.context(&task.name);
            let task = task.name.clone();
            self.ops.push(Box::pin(async move {
                match context.rerender().await {
                    Some(rerendered) => Done::Rerendered { task, rerendered },
                    None => Done::Overtaken,
                }
            }));
        }
    }

    pub(super) fn take_rerendered(&mut self, task: &str, rerendered: Rerendered) {
        let now = self.shared.now();
        let job = self.record.job.clone();
        let Some(rules) = super::rules(&self.record, &job) else { return };
        let lifecycle = &mut self.record.lifecycle;
        for (kind, words) in rerendered.said {
            lifecycle.note(task, kind, &words, now);
        }
        if let Some(reason) = rerendered.restart {
            lifecycle.handle(rules, task, None, Event::RestartWanted(reason), now);
        }
    }
}

/// A wait of up to `most`, different for each allocation and task.
pub(crate) fn splay(seed: &[&[u8]], most: Duration) -> Duration {
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    let chance = model::seeded_uuid(seed).as_u64_pair().1;
    Duration::from_nanos(if most == 0 { 0 } else { chance % most })
}
