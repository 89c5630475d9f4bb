//! People type the first digits of an ID.

use std::collections::BTreeSet;

use model::wire::{AllocListStub, DeploymentView, EvaluationView, JobListStub, NodeListStub};
use model::{AllocId, DeploymentId, EvalId, JobId, NodeId};

use crate::error::ClientError;
use crate::transport::{Client, Listing};

/// How many of the things that it may be an error names.
const SHOWN: usize = 20;

impl Client {
    /// The allocation whose ID begins with `prefix`.
    ///
    /// # Errors
    /// For this and the others: when there is none or more than one, or the agent cannot be asked.
    pub fn alloc_by_prefix(&self, prefix: &str) -> Result<AllocListStub, ClientError> {
        let all = self.allocations(&starting(prefix))?.into_value();
        only("allocation", prefix, all, |row| (row.id.to_string(), row.name.clone()))
    }

    /// As [`Client::alloc_by_prefix`], the ID alone; a whole ID is not asked for.
    pub fn alloc_id(&self, prefix: &str) -> Result<AllocId, ClientError> {
        match prefix.parse() {
            Ok(id) => Ok(id),
            Err(_) => self.alloc_by_prefix(prefix).map(|row| row.id),
        }
    }

    /// The node whose ID begins with `prefix`, or whose name it is.
    pub fn node_by_prefix(&self, prefix: &str) -> Result<NodeListStub, ClientError> {
        let mut all = self.nodes(&Listing::default())?.into_value();
        if let Some(at) = all.iter().position(|row| row.name == prefix) {
            return Ok(all.swap_remove(at));
        }
        all.retain(|row| begins(&row.id, prefix));
        only("node", prefix, all, |row| (row.id.to_string(), row.name.clone()))
    }

    /// As [`Client::node_by_prefix`], the ID alone.
    pub fn node_id(&self, prefix: &str) -> Result<NodeId, ClientError> {
        match prefix.parse() {
            Ok(id) => Ok(id),
            Err(_) => self.node_by_prefix(prefix).map(|row| row.id),
        }
    }

    /// The deployment whose ID begins with `prefix`.
    pub fn deployment_by_prefix(&self, prefix: &str) -> Result<DeploymentView, ClientError> {
        let all = self.deployments(&starting(prefix))?.into_value();
        only("deployment", prefix, all, |row| (row.id.to_string(), row.job_id.to_string()))
    }

    /// As [`Client::deployment_by_prefix`], the ID alone.
    pub fn deployment_id(&self, prefix: &str) -> Result<DeploymentId, ClientError> {
        match prefix.parse() {
            Ok(id) => Ok(id),
            Err(_) => self.deployment_by_prefix(prefix).map(|row| row.id),
        }
    }

    /// The evaluation whose ID begins with `prefix`.
    pub fn evaluation_by_prefix(&self, prefix: &str) -> Result<EvaluationView, ClientError> {
        let all = self.evaluations(&starting(prefix))?.into_value();
        only("evaluation", prefix, all, |row| (row.id.to_string(), row.job_id.to_string()))
    }

    /// As [`Client::evaluation_by_prefix`], the ID alone.
    pub fn evaluation_id(&self, prefix: &str) -> Result<EvalId, ClientError> {
        match prefix.parse() {
            Ok(id) => Ok(id),
            Err(_) => self.evaluation_by_prefix(prefix).map(|row| row.id),
        }
    }

    /// The job whose ID is `prefix`, or else the only one whose ID begins with it.
    pub fn job_id(&self, prefix: &str) -> Result<JobId, ClientError> {
        let mut all: Vec<JobListStub> = self.jobs(&starting(prefix))?.into_value();
        if let Some(at) = all.iter().position(|row| row.id.as_str() == prefix) {
            return Ok(all.swap_remove(at).id);
        }
        without_runs(&mut all);
        only("job", prefix, all, |row| (row.id.to_string(), String::new())).map(|row| row.id)
    }
}

/// Leaves jobs out that are runs of another one in the list: whoever types the beginning of a name means that one.
pub fn without_runs(jobs: &mut Vec<JobListStub>) {
    let all: BTreeSet<String> = jobs.iter().map(|job| job.id.to_string()).collect();
    jobs.retain(|job| !all.contains(&job.parent_id));
}

fn starting(prefix: &str) -> Listing {
    Listing { prefix: prefix.to_owned(), resources: false }
}

fn begins(id: &impl ToString, prefix: &str) -> bool {
    id.to_string().starts_with(&prefix.to_lowercase())
}

fn only<T>(
    what: &'static str,
    prefix: &str,
    mut rows: Vec<T>,
    name: impl Fn(&T) -> (String, String),
) -> Result<T, ClientError> {
    match rows.len() {
        0 => Err(ClientError::NotFound { text: format!("there is no {what} `{prefix}`") }),
        1 => Ok(rows.swap_remove(0)),
        count => {
            let mut matches: Vec<String> = rows
                .iter()
                .take(SHOWN)
                .map(|row| {
                    let (id, name) = name(row);
                    if name.is_empty() { id } else { format!("{id} ({name})") }
                })
                .collect();
            if count > SHOWN {
                matches.push(format!("and {} more", count - SHOWN));
            }
            Err(ClientError::Ambiguous { what, prefix: prefix.to_owned(), matches })
        }
    }
}
