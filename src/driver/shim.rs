//! Tasks that are processes: the small process that stays with each of them, and what all drivers of processes share.
//!
//! The agent starts a shim, which starts the task; the two talk once, over the shim's standard streams. After that
//! they share only the task's state directory, so that any later agent stands where the first one did.

mod agent;
mod command;
mod launch;
mod process;
mod processes;
mod program;
mod pump;
mod record;
mod title;
mod tree;
mod zygote;

pub(crate) use launch::{Failure, user_of};
pub(crate) use process::Proc;
pub(crate) use processes::{Kind, Processes, Setup};
pub use program::{SHIM_ARG, shim_main};
pub(crate) use record::{CommandSpec, Plan};
pub use zygote::Shims;

/// How long a killed task may take to be gone. Longer than it takes unless it hangs in the kernel.
const KILL_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
