//! From the state to the JSON of the dialect. Pure functions: a state goes in, an answer comes out.

mod alloc;
mod deployment;
mod evaluation;
mod gitops;
mod job;
mod node;
mod service;

pub(super) use alloc::{alloc_stub, alloc_view};
pub(super) use deployment::deployment;
pub(super) use evaluation::evaluation;
pub(super) use gitops::{gitops_status, revision};
pub(super) use job::{job_stub, job_summary, job_view, namespace};
pub(super) use node::{node_stub, node_view};
pub(super) use service::{service_instance, service_stubs};
