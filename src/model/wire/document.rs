//! A job as Nomad's tools hand it around: `{"Job": {…}}`.

use serde::Serialize;

use super::JobView;
use crate::{Job, Payload};

/// A job with the fields that only a server sets, in the order of Nomad's API. It is read by whatever reads Nomad's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobDocument<'a> {
    job: Whole<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Whole<'a> {
    #[serde(flatten)]
    job: &'a Job,
    stop: bool,
    #[serde(rename = "ParentID")]
    parent_id: &'a str,
    dispatched: bool,
    dispatch_idempotency_token: Option<&'a str>,
    payload: Option<&'a Payload>,
    consul_namespace: &'static str,
    vault_namespace: &'static str,
    #[serde(rename = "NomadTokenID")]
    nomad_token_id: &'static str,
    status: &'a str,
    status_description: &'a str,
    stable: bool,
    version: u64,
    submit_time: Option<i64>,
    create_index: u64,
    modify_index: u64,
    job_modify_index: u64,
    version_tag: (),
}

impl<'a> JobDocument<'a> {
    /// A job that no server has seen.
    pub fn new(job: &'a Job) -> Self {
        let job = Whole {
            job,
            stop: false,
            parent_id: "",
            dispatched: false,
            dispatch_idempotency_token: None,
            payload: None,
            consul_namespace: "",
            vault_namespace: "",
            nomad_token_id: "",
            status: "",
            status_description: "",
            stable: false,
            version: 0,
            submit_time: None,
            create_index: 0,
            modify_index: 0,
            job_modify_index: 0,
            version_tag: (),
        };
        Self { job }
    }

    /// A job as an agent has it.
    pub fn of_view(view: &'a JobView) -> Self {
        let job = Whole {
            stop: view.stop,
            parent_id: &view.parent_id,
            dispatched: view.dispatched,
            dispatch_idempotency_token: Some(view.dispatch_idempotency_token.as_str())
                .filter(|token| !token.is_empty()),
            payload: view.payload.as_ref(),
            status: view.status.as_str(),
            status_description: &view.status_description,
            stable: view.stable,
            version: view.version,
            submit_time: Some(view.submit_time.0),
            create_index: view.create_index,
            modify_index: view.modify_index,
            job_modify_index: view.job_modify_index,
            ..Self::new(&view.job).job
        };
        Self { job }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_the_order_of_the_api() {
        let job = Job::default();
        let text = serde_json::to_string(&JobDocument::new(&job)).expect("serialises");
        assert!(text.starts_with("{\"Job\":{\"Region\":"), "{text}");
        let names = ["\"Meta\":", "\"UI\":", "\"Stop\":", "\"ParentID\":", "\"VersionTag\":null}}"];
        let places: Vec<_> = names.iter().map(|name| text.find(name).expect("is there")).collect();
        assert!(places.is_sorted(), "{text}");
    }
}
