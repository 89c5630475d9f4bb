//! The real binary, end to end: a Git repository, an agent, its HTTP faces and DNS, real processes and containers.
//!
//! Each test has its own repository, data directory and ports, and takes its processes with it when it ends.

mod agent;
mod artifacts;
mod bad_input;
mod canary;
mod canary_secrets;
mod chaos;
mod commands;
mod corpus;
mod deletion;
mod docker;
mod exec;
mod explain;
mod full_disk;
mod hardware;
mod job_commands;
mod job_files;
mod job_safety;
mod jobs;
mod keeping;
mod load;
mod network;
mod nodes;
mod operator;
mod order;
mod repository;
mod restart;
mod rollout;
mod runs;
mod templates;
