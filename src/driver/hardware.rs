//! What of the node's hardware a task is given.

use std::path::PathBuf;

/// What of the node's hardware a task is given. The node decided that it may have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hardware {
    /// Cores that it runs on; all of them when empty.
    pub cores: Vec<u16>,
    /// Whether they are the task's alone, and stay so.
    pub alone: bool,
    /// Files of devices, beneath `/dev`. The task finds each at the same path.
    pub devices: Vec<PathBuf>,
}

impl Hardware {
    /// The cores that are the task's alone.
    pub(crate) fn own_cores(&self) -> Vec<u16> {
        if self.alone { self.cores.clone() } else { Vec::new() }
    }
}
