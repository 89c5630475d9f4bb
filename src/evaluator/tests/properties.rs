//! What holds of one evaluation, whatever state it is made from: `evaluate` is asked about states that commands have made,
//! with nodes, allocations and deployments in any condition that they may be found in. What holds over time is in
//! `simulation`.

#[path = "properties/asked.rs"]
mod asked;
#[path = "properties/bounds.rs"]
mod bounds;
#[path = "properties/kept.rs"]
mod kept;
#[path = "properties/room.rs"]
mod room;
#[path = "properties/same.rs"]
mod same;
#[path = "../samples.rs"]
mod samples;
#[path = "properties/settled.rs"]
mod settled;
#[path = "properties/world.rs"]
mod world;
