//! A whole cluster in one thread, with virtual time and a seed: servers with a replicated log, the leader's own step
//! functions over it, machines that run tasks, a branch that people push to, and everything that goes wrong with them.
//!
//! A [`schedule::Schedule`] says what happens and when; running it is a function of it alone. After each entry of the log,
//! and before each plan, [`watch::Watch`] checks what must never happen, law 4 first. When the schedule is over everything
//! is mended, and the cluster must become what its branch says within a bound of virtual time. A schedule that fails is
//! shrunk and printed; `HERDER_SIMULATION` makes it happen again. CONTRIBUTING.md says how.
//!
//! What is a model here: sockets, disks, Raft itself (one leader for each term; of what a leader that is gone proposed, a
//! first part is committed and the rest is lost, or comes late), drivers and checks.

mod calm;
mod chance;
mod jobs;
mod leader;
mod machine;
mod operator;
mod orders;
mod replication;
mod schedule;
mod shrink;
mod spoil;
mod task;
mod tests;
mod watch;
mod world;
