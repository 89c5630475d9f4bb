//! From the evaluated tree to [`model::Job`]: defaults, inheritance and the places of things, for later findings.

mod config;
mod constraint;
mod group;
mod job;
mod network;
mod places;
mod policy;
mod reader;
mod service;
mod task;

pub(crate) use job::decode;
pub(crate) use places::Places;
