//! One process: wires the log, the loops, the catalog, the node and the HTTP faces together, and takes them down again.
//!
//! This is the only room that knows all others. It holds no rule of its own: what it decides is which parts there are,
//! with which settings, and in which order they start and stop.

mod arguments;
mod clock;
mod config;
mod directory;
mod fleet;
mod follow;
mod leaving;
mod local_node;
mod logging;
mod offline;
mod run;
mod scheduling;
mod task_logs;
mod upstream;
mod web;

pub use arguments::AgentArguments;
pub use offline::{recover, restore};
pub use run::run;
