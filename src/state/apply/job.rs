//! Versions of a job.

use std::sync::Arc;

use model::{Job, JobId, JobVersion, Origin, Timestamp};

use crate::TRACKED_VERSIONS;
use crate::event::Event;
use crate::record::JobRecord;
use crate::table::State;

impl State {
    /// Makes `job` the desired version. Returns its number and whether that changed anything.
    pub(super) fn submit_job(
        &mut self,
        job: &Arc<Job>,
        origin: Arc<Origin>,
        reverts_to: Option<u64>,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> (u64, bool) {
        let hash = job.spec_hash();
        let mut record = self.jobs.get(&job.id).map_or_else(
            || JobRecord { id: job.id.clone(), create_index: self.index, ..JobRecord::default() },
            |record| JobRecord::clone(record),
        );
        if let Some(current) = record.current()
            && current.hash == hash
            && current.child.is_none()
            && !record.stopped
        {
            return (current.version, false);
        }
        // A schedule that is new, or is followed again, begins now: nothing that was to run before is made up.
        let went_on = record.schedule().is_some_and(|before| job.periodic.as_ref() == Some(before));
        if !went_on && job.periodic.is_some() {
            record.launches.settled = at;
        }
        let number = record.current().map_or(0, |current| current.version + 1);
        record.versions.push(Arc::new(JobVersion {
            payload: model::Payload::default(),
            child: None,
            version: number,
            job: Arc::clone(job),
            hash,
            origin,
            reverts_to,
            fresh: number == 0 || record.stopped,
            started: false,
            stable: false,
            submitted_at: at,
            create_index: self.index,
        }));
        record.finished_at = Timestamp::ZERO;
        record.stopped = false;
        record.stop_reason.clear();
        record.submitted_at = at;
        record.job_modify_index = self.index;
        self.forget_old_versions(&mut record);
        self.put_job(record, events);
        (number, true)
    }

    /// Notes that a file says now what an earlier version said that the job went back to: the rollback is what is
    /// desired. Returns whether that is news.
    pub(super) fn confirm_rollback(
        &mut self,
        id: &JobId,
        origin: &Arc<Origin>,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(record) = self.jobs.get(id) else { return false };
        let Some(current) = record.current() else { return false };
        let unconfirmed = current
            .reverts_to
            .and_then(|number| record.version(number))
            .is_some_and(|target| target.origin == current.origin);
        if !unconfirmed || current.origin == *origin {
            return false;
        }
        let mut record = JobRecord::clone(record);
        if let Some(current) = record.versions.last_mut() {
            Arc::make_mut(current).origin = Arc::clone(origin);
        }
        self.put_job(record, events);
        true
    }

    pub(super) fn stop_job(
        &mut self,
        id: &JobId,
        reason: String,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(record) = self.jobs.get(id).filter(|record| !record.stopped) else {
            return false;
        };
        let mut record = JobRecord::clone(record);
        record.stopped = true;
        record.stop_reason = reason;
        record.submitted_at = at;
        record.job_modify_index = self.index;
        self.put_job(record, events);
        self.stop_children(id, at, events);
        true
    }

    pub(super) fn mark_stable(&mut self, id: &JobId, number: u64, events: &mut Vec<Event>) {
        self.mark(id, number, |version| &mut version.stable, events);
    }

    pub(super) fn mark_started(&mut self, id: &JobId, number: u64, events: &mut Vec<Event>) {
        self.mark(id, number, |version| &mut version.started, events);
    }

    fn mark(
        &mut self,
        id: &JobId,
        number: u64,
        flag: impl Fn(&mut JobVersion) -> &mut bool,
        events: &mut Vec<Event>,
    ) {
        let Some(record) = self.jobs.get(id) else { return };
        let mut record = JobRecord::clone(record);
        let Some(known) = record.versions.iter_mut().find(|version| version.version == number)
        else {
            return;
        };
        let mut version = JobVersion::clone(known);
        if !std::mem::replace(flag(&mut version), true) {
            *known = Arc::new(version);
            self.put_job(record, events);
        }
    }

    pub(super) fn put_job(&mut self, mut record: JobRecord, events: &mut Vec<Event>) {
        record.modify_index = self.index;
        self.note_child(&record);
        events.push(Event::Job(record.id.clone()));
        self.indexes.jobs = self.index;
        self.jobs.insert(record.id.clone(), Arc::new(record));
    }

    /// Keeps the newest versions, the newest stable one and all that an allocation still runs.
    fn forget_old_versions(&self, record: &mut JobRecord) {
        let Some(surplus) =
            record.versions.len().checked_sub(TRACKED_VERSIONS).filter(|surplus| *surplus > 0)
        else {
            return;
        };
        let stable = record.stable().map(|version| version.version);
        let mut seen = 0;
        let in_use: Vec<u64> = self
            .allocs_of_job(&record.id)
            .filter(|alloc| !alloc.client.is_terminal())
            .map(|alloc| alloc.job_version)
            .collect();
        record.versions.retain(|version| {
            seen += 1;
            seen > surplus || Some(version.version) == stable || in_use.contains(&version.version)
        });
    }
}
