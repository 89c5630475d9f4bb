//! A small cluster with virtual time: evaluate, apply, and nodes that start, heal and fail. Checks at every step what
//! must never happen.

#[path = "simulation/canary.rs"]
mod canary;
#[path = "simulation/causes.rs"]
mod causes;
#[path = "simulation/cluster.rs"]
mod cluster;
#[path = "simulation/explain.rs"]
mod explain;
#[path = "simulation/fleet.rs"]
mod fleet;
#[path = "simulation/improve.rs"]
mod improve;
#[path = "simulation/keeping.rs"]
mod keeping;
#[path = "simulation/kinds.rs"]
mod kinds;
#[path = "simulation/laws.rs"]
mod laws;
#[path = "simulation/order.rs"]
mod order;
#[path = "simulation/preemption.rs"]
mod preemption;
#[path = "simulation/preview.rs"]
mod preview;
#[path = "simulation/property.rs"]
mod property;
#[path = "simulation/rollout.rs"]
mod rollout;
#[path = "simulation/rules.rs"]
mod rules;
#[path = "../samples.rs"]
mod samples;
#[path = "simulation/scale.rs"]
mod scale;
