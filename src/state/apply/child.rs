//! What comes of periodic and parameterized jobs. Each run is a job of its own: it goes on as it was made, whatever
//! becomes of the file, and ends with the job that it came of.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Child, Job, JobId, JobVersion, Parameterized, Payload, Timestamp};

use crate::command::{Dispatch, Launch};
use crate::event::{Event, Rejection};
use crate::record::JobRecord;
use crate::table::State;
use crate::{DISPATCH_META, IDEMPOTENCY_TOKEN, LIVE_CHILDREN};

impl State {
    pub(super) fn launch_periodic(
        &mut self,
        launch: &Launch,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let record = self.parent(&launch.job)?;
        let Some(version) = record.current().filter(|_| record.schedule().is_some()) else {
            return Err(not_periodic(record));
        };
        if !launch.forced {
            in_time(record, launch)?;
        }
        let id = launch.job.periodic_child(launch.run_of);
        let mut parent = JobRecord::clone(record);
        let known = self.jobs.contains_key(&id);
        if known && launch.forced {
            let words = format!("job `{}` was started in this second already", launch.job);
            return Err(Rejection::Conflict(words));
        }
        // One that was started by hand in this very second is the run of this second.
        if !known {
            self.room_for_child(&launch.job)?;
            let job = Job { periodic: None, ..child_of(&version.job, &id) };
            let child =
                Child { parent: launch.job.clone(), run_of: launch.run_of, ..Child::default() };
            let made = JobVersion { child: Some(child), ..born_of(version, job, launch.at) };
            parent.launches.last = parent.launches.last.max(launch.run_of);
            self.put_child(made, events);
        }
        if !launch.forced {
            parent.launches.settled = launch.run_of;
        }
        self.put_job(parent, events);
        Ok(())
    }

    pub(super) fn skip_periodic(
        &mut self,
        skipped: &Launch,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let record = self.parent(&skipped.job)?;
        if record.schedule().is_none() {
            return Err(not_periodic(record));
        }
        in_time(record, skipped)?;
        let mut parent = JobRecord::clone(record);
        parent.launches.settled = skipped.run_of;
        self.put_job(parent, events);
        Ok(())
    }

    pub(super) fn dispatch_job(
        &mut self,
        dispatch: &Dispatch,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let record = self.parent(&dispatch.job)?;
        let version = record.current().filter(|version| version.child.is_none());
        let taken =
            version.and_then(|version| Some((version, version.job.parameterized_job.as_ref()?)));
        let Some((version, asked)) = taken else {
            let words = format!("job `{}` is not parameterized", dispatch.job);
            return Err(Rejection::Conflict(words));
        };
        fits(dispatch, asked)?;
        let token = &dispatch.idempotency_token;
        if !token.is_empty() && self.dispatched_with(&dispatch.job, token).is_some() {
            return Ok(());
        }
        if dispatch.child.parent().as_ref() != Some(&dispatch.job)
            || self.jobs.contains_key(&dispatch.child)
        {
            let words = format!("`{}` cannot be the name of a new dispatch", dispatch.child);
            return Err(Rejection::Conflict(words));
        }
        self.room_for_child(&dispatch.job)?;
        let mut job = child_of(&version.job, &dispatch.child);
        job.meta.extend(dispatch.meta.clone());
        job.priority = dispatch.priority.unwrap_or(job.priority);
        let child = Child {
            parent: dispatch.job.clone(),
            dispatched: true,
            idempotency_token: token.clone(),
            run_of: dispatch.at,
        };
        let made = JobVersion {
            child: Some(child),
            payload: dispatch.payload.clone(),
            ..born_of(version, job, dispatch.at)
        };
        self.put_child(made, events);
        Ok(())
    }

    /// Notes that children are over.
    pub(super) fn finish_children(
        &mut self,
        ids: &[JobId],
        at: Timestamp,
        events: &mut Vec<Event>,
    ) {
        for id in ids {
            let Some(record) = self.jobs.get(id) else { continue };
            let runs = self.allocs_of_job(id).any(|alloc| !alloc.client.is_terminal());
            if record.child().is_some() && record.finished_at.is_zero() && !runs {
                let record = JobRecord { finished_at: at, ..JobRecord::clone(record) };
                self.put_job(record, events);
            }
        }
    }

    /// Stops what came of a job that is stopped and still runs. Nomad leaves it running, and nobody's.
    pub(super) fn stop_children(&mut self, id: &JobId, at: Timestamp, events: &mut Vec<Event>) {
        let live: Vec<JobId> = self.live_children_of_job(id).cloned().collect();
        for child in live {
            self.stop_job(&child, format!("job `{id}` was stopped"), at, events);
        }
    }

    /// Keeps the indexes of children up to a record that is about to be put.
    pub(crate) fn note_child(&mut self, record: &JobRecord) {
        let Some(child) = record.child() else {
            // A file may have taken the name.
            if let Some(before) = self.jobs.get(&record.id).cloned() {
                self.forget_child(&before);
            }
            return;
        };
        if record.finished_at.is_zero() {
            self.live_children.entry(child.parent.clone()).or_default().insert(record.id.clone());
        } else {
            self.forget_live(&child.parent, &record.id);
        }
        if !child.idempotency_token.is_empty() {
            let key = (child.parent.clone(), child.idempotency_token.clone());
            self.dispatch_tokens.insert(key, record.id.clone());
        }
    }

    pub(super) fn forget_child(&mut self, record: &JobRecord) {
        let Some(child) = record.child() else { return };
        self.forget_live(&child.parent, &record.id);
        self.dispatch_tokens.remove(&(child.parent.clone(), child.idempotency_token.clone()));
    }

    fn forget_live(&mut self, parent: &JobId, id: &JobId) {
        if let Some(live) = self.live_children.get_mut(parent) {
            live.remove(id);
            if live.is_empty() {
                self.live_children.remove(parent);
            }
        }
    }

    fn parent(&self, id: &JobId) -> Result<&Arc<JobRecord>, Rejection> {
        let missing = || Rejection::NotFound { what: "job", id: id.to_string() };
        let record = self.jobs.get(id).ok_or_else(missing)?;
        if record.stopped {
            return Err(Rejection::Conflict(format!("job `{id}` is stopped")));
        }
        Ok(record)
    }

    fn room_for_child(&self, parent: &JobId) -> Result<(), Rejection> {
        let live = self.live_children_of_job(parent).len();
        if live < LIVE_CHILDREN {
            return Ok(());
        }
        Err(Rejection::Conflict(format!(
            "{live} runs of job `{parent}` are not over yet, and there can be {LIVE_CHILDREN}; \
             wait until some are, or give the job room"
        )))
    }

    fn put_child(&mut self, version: JobVersion, events: &mut Vec<Event>) {
        let record = JobRecord {
            id: version.job.id.clone(),
            submitted_at: version.submitted_at,
            versions: vec![Arc::new(JobVersion { create_index: self.index, ..version })],
            create_index: self.index,
            job_modify_index: self.index,
            ..JobRecord::default()
        };
        self.put_job(record, events);
    }
}

fn child_of(parent: &Job, id: &JobId) -> Job {
    Job { id: id.clone(), name: id.to_string(), ..parent.clone() }
}

/// The first and only version of a child. It comes from where its parent's does.
fn born_of(parent: &JobVersion, job: Job, at: Timestamp) -> JobVersion {
    JobVersion {
        hash: job.spec_hash(),
        job: Arc::new(job),
        origin: Arc::clone(&parent.origin),
        submitted_at: at,
        ..JobVersion::default()
    }
}

fn not_periodic(record: &JobRecord) -> Rejection {
    let is_off = record.job().is_some_and(|job| job.periodic.is_some());
    let why =
        if is_off { "switched off: its `periodic` says enabled = false" } else { "not periodic" };
    Rejection::Conflict(format!("job `{}` is {why}", record.id))
}

/// Whether nothing was decided about this time yet, and its schedule is still the one that it is of.
fn in_time(record: &JobRecord, launch: &Launch) -> Result<(), Rejection> {
    let same = record.current().is_some_and(|version| version.version == launch.version);
    if same && launch.run_of > record.launches.settled {
        return Ok(());
    }
    Err(Rejection::Conflict(format!(
        "this time of job `{}` is settled, or its schedule changed",
        record.id
    )))
}

/// Whether a dispatch brings what the job asks for.
fn fits(dispatch: &Dispatch, asked: &Parameterized) -> Result<(), Rejection> {
    let refuse = |words: String| Err(Rejection::Conflict(words));
    let job = &dispatch.job;
    match (asked.payload.as_str(), dispatch.payload.len()) {
        ("required", 0) => {
            return refuse(format!("job `{job}` needs a payload, and none was given"));
        }
        ("forbidden", 1..) => {
            return refuse(format!("job `{job}` takes no payload, and one was given"));
        }
        (_, len) if len > Payload::LIMIT => {
            return refuse(format!(
                "the payload has {len} bytes, and up to {} are taken; hand over where it can be found",
                Payload::LIMIT
            ));
        }
        _ => {}
    }
    let known: BTreeSet<&String> = asked.meta_required.iter().chain(&asked.meta_optional).collect();
    let list = |keys: Vec<&String>| {
        keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    };
    let missing: Vec<_> =
        asked.meta_required.iter().filter(|key| !dispatch.meta.contains_key(*key)).collect();
    if !missing.is_empty() {
        return refuse(format!("job `{job}` needs metadata that was not given: {}", list(missing)));
    }
    let unknown: Vec<_> =
        dispatch.meta.keys().filter(|key| !known.contains(key)).take(10).collect();
    if !unknown.is_empty() {
        return refuse(format!("job `{job}` takes no such metadata: {}", list(unknown)));
    }
    let size: usize = dispatch.meta.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > DISPATCH_META {
        return refuse(format!(
            "the metadata has {size} bytes, and up to {DISPATCH_META} are taken"
        ));
    }
    if dispatch.idempotency_token.len() > IDEMPOTENCY_TOKEN {
        return refuse(format!("the idempotency token has more than {IDEMPOTENCY_TOKEN} bytes"));
    }
    match dispatch.priority {
        Some(priority) if !(1..=100).contains(&priority) => {
            refuse(format!("the priority {priority} is not between 1 and 100"))
        }
        _ => Ok(()),
    }
}
