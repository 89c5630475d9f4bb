//! Decides: given what is desired and what is there, what must be placed, stopped, changed and rolled out.
//!
//! [`evaluate`] is a pure function from a snapshot to a [`state::Plan`]. The leader, `herder plan` and a preview of a
//! change call the same one, so that a plan that was shown is the plan that runs. For each job it goes through
//!
//! 1. `rollout`: what the job's deployment does next (fail, go back, promote, be overtaken);
//! 2. `reconcile`: which allocations must go, come or change, and how many the gate lets through now;
//! 3. `place`: on which node each new allocation runs, and why there.
//!
//! [`evaluate_with`] is the same with a [`Fleet`] that the caller keeps from pass to pass, so that a pass looks only at nodes
//! that have changed. It changes how long a pass takes and nothing else.
//!
//! [`explain`] says why things are as they are, by the same functions: what each node would say to one more, what is
//! waited for, and whether an allocation would be put where it is once more.
//!
//! What never belongs here: clocks, randomness, sockets, disks, and iteration over anything without an order. Equal
//! inputs give byte-equal plans.

mod batches;
mod compare;
mod diff;
mod emptied;
mod evaluate;
mod execute;
mod explain;
mod feasible;
mod improve;
mod node_inputs;
mod order;
mod place;
mod ports;
mod preview;
mod rank;
mod reconcile;
mod rollout;
#[cfg(test)]
mod samples;
mod volumes;

pub use compare::{Change, compare};
pub use diff::{changes, changes_of_job, diff_jobs};
pub use emptied::witnesses;
pub use evaluate::{evaluate, evaluate_with};
pub use explain::{explain, explain_allocation, explain_job};
pub use improve::{BUDGET_PERIOD, Improvement, given_up, improvements, improves};
pub use order::{Waiting, may_wait, waits};
pub use place::Fleet;
pub use preview::{JobPreview, Preview, preview};
