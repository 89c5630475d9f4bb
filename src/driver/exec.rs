//! `exec`: a process in a root, a process namespace and a control group of its own, as a user without privileges.

mod config;
mod surroundings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use model::DriverInfo;
use serde_json::Value;

use crate::cgroup::Hierarchy;
use crate::shim::{CommandSpec, Kind, Plan, Processes, Setup, Shims};
use crate::{DriverError, TaskDirs, TaskRoot, TaskSpec, isolate};

pub(crate) use config::{Asked, read_asked};
pub(crate) use surroundings::{environment, isolation};

const NAME: &str = "exec";

/// The user of tasks that name none.
const DEFAULT_USER: &str = "nobody";

/// Processes and threads that a task may have unless the node says otherwise.
const PROCESSES: u64 = 4096;

/// What tasks see of the node unless it says otherwise: programs, libraries and their settings, to be read only.
const LENT: [&str; 9] = [
    "/bin",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sbin",
    "/usr",
];

/// How tasks are kept apart from a node. `exec` and `java` share it.
#[derive(Clone, Debug)]
pub struct IsolationOptions {
    /// Whether the node offers the drivers.
    pub enabled: bool,
    /// What starts the processes beside the tasks. One agent's drivers best share one.
    pub shims: Shims,
    /// Where the states of this agent's tasks are kept, which no task has a way to.
    pub root: PathBuf,
    /// The control group, from the root of each tree, that all agents of a machine make theirs in.
    pub cgroup_parent: String,
    /// This agent's group in it. The node's id does.
    pub instance: String,
    /// What tasks see of the node, and where, to be read only.
    pub lent: BTreeMap<PathBuf, PathBuf>,
    /// Capabilities that job files may ask for.
    pub allow_caps: Vec<String>,
    /// Users that job files may not name.
    pub denied_users: Vec<String>,
    /// Processes and threads that a task may have; 0 for no limit.
    pub max_processes: u64,
    /// Whether tasks see the node's processes unless they ask for their own.
    pub host_pid: bool,
    /// Whether tasks share the node's memory segments and queues unless they ask for their own.
    pub host_ipc: bool,
}

impl IsolationOptions {
    /// The defaults of an agent that keeps the states of its tasks in `root`.
    pub fn new(root: impl Into<PathBuf>, instance: impl Into<String>) -> Self {
        let Setup { shims, root, .. } = Setup::new(root.into());
        Self {
            enabled: true,
            shims,
            root,
            cgroup_parent: "herder.slice".to_owned(),
            instance: instance.into(),
            lent: LENT.iter().map(|path| (PathBuf::from(path), PathBuf::from(path))).collect(),
            allow_caps: isolate::ALLOWED_BY_DEFAULT.map(str::to_owned).to_vec(),
            denied_users: vec!["root".to_owned()],
            max_processes: PROCESSES,
            host_pid: false,
            host_ipc: false,
        }
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup { shims: self.shims.clone(), own_dir: None, root: self.root.clone() }
    }

    /// Why tasks cannot be kept apart here, in words; the control groups' version when they can.
    pub(crate) fn usable(&self) -> Result<&'static str, String> {
        if !self.enabled {
            return Err("disabled in the node's configuration".to_owned());
        }
        if !nix::unistd::Uid::effective().is_root() {
            return Err(
                "the agent does not run as root, which it takes to keep tasks apart".to_owned()
            );
        }
        for namespace in ["mnt", "pid", "ipc", "uts", "net"] {
            if !Path::new("/proc/self/ns").join(namespace).exists() {
                return Err(format!("the kernel has no {namespace} namespaces"));
            }
        }
        Hierarchy::of_this_machine().map(|trees| trees.version())
    }

    /// Removes control groups that nobody uses.
    pub(crate) fn tidy(&self) {
        if let Ok(trees) = Hierarchy::of_this_machine() {
            trees.tidy(&self.cgroup_parent, &self.instance, SystemTime::now());
        }
    }

    /// Who the task is, or why it may not be.
    pub(crate) fn user(&self, asked: &str) -> Result<String, String> {
        let user = if asked.is_empty() { DEFAULT_USER } else { asked };
        let denies = |name: &str| self.denied_users.iter().any(|denied| denied == name);
        // Root by its number, or by another name, is root.
        let number = user.parse().ok().or_else(|| {
            let found = nix::unistd::User::from_name(user).ok().flatten();
            found.map(|found| found.uid.as_raw())
        });
        if denies(user) || (number == Some(0) && denies("root")) {
            return Err(format!(
                "user `{user}` is not allowed on this node; name another one, or leave `user` out for {DEFAULT_USER}"
            ));
        }
        Ok(user.to_owned())
    }
}

/// The driver `exec`.
pub type Exec = Processes<Isolating>;

/// Processes kept apart.
#[derive(Debug)]
pub struct Isolating {
    options: IsolationOptions,
}

impl Exec {
    /// A driver with these options.
    pub fn new(options: IsolationOptions) -> Self {
        let setup = options.setup();
        Self::of(Isolating { options }, setup)
    }
}

impl Kind for Isolating {
    const NAME: &'static str = NAME;

    fn info(&self) -> DriverInfo {
        match self.options.usable() {
            Ok(version) => DriverInfo {
                detected: true,
                healthy: true,
                description: "healthy".to_owned(),
                attributes: BTreeMap::from([
                    ("driver.exec".to_owned(), "1".to_owned()),
                    ("os.cgroups.version".to_owned(), version.trim_start_matches('v').to_owned()),
                ]),
            },
            Err(description) => DriverInfo { description, ..DriverInfo::default() },
        }
    }

    fn validate(&self, config: &BTreeMap<String, Value>) -> Vec<String> {
        config::parse(config, &self.options).1
    }

    fn plan(&self, spec: &TaskSpec) -> Result<Plan, DriverError> {
        self.options
            .usable()
            .map_err(|problem| DriverError::Unavailable { driver: NAME, problem })?;
        let (config, problems) = config::parse(&spec.driver_config, &self.options);
        if !problems.is_empty() {
            return Err(DriverError::Config { driver: NAME, problem: problems.join("; ") });
        }
        let user = self.options.user(&spec.user).map_err(DriverError::StartNever)?;
        Ok(Plan {
            command: CommandSpec {
                env: environment(std::env::vars_os(), &user, spec),
                cwd: isolate::work_dir(config.asked.work_dir.as_deref()),
                task_dir: spec.dirs.task_dir.clone(),
                user,
                command: config.command,
                args: config.args,
                cores: spec.hardware.own_cores(),
                ..CommandSpec::default()
            },
            isolation: Some(isolation(&self.options, &config.asked, spec)?),
        })
    }

    fn paths_in_task(&self, _: &TaskDirs) -> [PathBuf; 3] {
        ["/alloc", "/local", "/secrets"].map(PathBuf::from)
    }

    fn root(&self) -> TaskRoot {
        TaskRoot::TaskDir
    }

    fn tidy(&self) {
        self.options.tidy();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_not_root_by_any_name() {
        let options = IsolationOptions::new("/x", "i");
        assert_eq!(options.user("").expect("somebody"), "nobody");
        assert_eq!(options.user("www-data").expect("somebody"), "www-data");
        for root in ["root", "0", "00", "+0"] {
            assert!(options.user(root).is_err(), "{root}");
        }
        let lax = IsolationOptions { denied_users: Vec::new(), ..options };
        assert_eq!(lax.user("root").expect("allowed"), "root");
    }
}
