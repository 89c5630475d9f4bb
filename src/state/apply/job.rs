//! Versions of a job.

use std::collections::BTreeSet;
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

    /// Keeps the newest versions, the newest stable one and those of all allocations that are known. One that is over
    /// needs its version too: without it, it is in no list that its node gets, and a node that hears nothing of what it
    /// runs lets that run, and removes the logs of what has ended.
    pub(super) fn forget_old_versions(&self, record: &mut JobRecord) {
        let Some(surplus) =
            record.versions.len().checked_sub(TRACKED_VERSIONS).filter(|surplus| *surplus > 0)
        else {
            return;
        };
        let stable = record.stable().map(|version| version.version);
        let named: BTreeSet<u64> =
            self.allocs_of_job(&record.id).map(|alloc| alloc.job_version).collect();
        let mut seen = 0;
        record.versions.retain(|version| {
            seen += 1;
            seen > surplus || Some(version.version) == stable || named.contains(&version.version)
        });
    }
}

#[cfg(test)]
mod tests {
    use model::{AllocId, Allocation, ClientStatus, seeded_uuid};

    use super::*;
    use crate::{Command, Garbage, Plan};

    const AT: Timestamp = Timestamp::from_secs(1);

    fn submit(state: &mut State, priority: u16) {
        let job = Arc::new(Job { id: "a".into(), priority, ..Job::default() });
        state.index += 1;
        state.submit_job(&job, Arc::default(), None, AT, &mut Vec::new());
    }

    #[test]
    fn the_version_of_an_allocation_is_known_for_as_long_as_the_allocation_is() {
        let mut state = State::default();
        let ends = [ClientStatus::Running, ClientStatus::Complete, ClientStatus::Lost];
        let ids: Vec<AllocId> =
            (0..ends.len()).map(|n| AllocId::new(seeded_uuid(&[&n.to_be_bytes()]))).collect();
        for (client, id) in ends.into_iter().zip(&ids) {
            submit(&mut state, client as u16 + 1);
            let version = state.job(&"a".into()).and_then(|record| record.current());
            let alloc = Allocation {
                id: *id,
                job: "a".into(),
                job_version: version.expect("is there").version,
                client,
                ..Allocation::default()
            };
            let plan = Plan { basis: state.index, place: vec![alloc], ..Plan::default() };
            let applied = state.apply(state.index + 1, &Command::ApplyPlan(Box::new(plan)));
            assert_eq!(applied.rejection, None);
        }
        let more = TRACKED_VERSIONS as u16 * 2;
        (100..100 + more).for_each(|priority| submit(&mut state, priority));
        let kept = |state: &State| -> Vec<u64> {
            let record = state.job(&"a".into()).expect("is there");
            record.versions.iter().map(|version| version.version).collect()
        };
        let first = u64::from(more) + 3 - TRACKED_VERSIONS as u64;
        let newest: Vec<u64> = (first..u64::from(more) + 3).collect();
        assert_eq!(kept(&state), [vec![0, 1, 2], newest.clone()].concat());

        let garbage = Garbage { allocs: ids, ..Garbage::default() };
        state.apply(state.index + 1, &Command::CollectGarbage(garbage));
        assert_eq!(kept(&state), [vec![0], newest].concat(), "what runs is not collected");
    }
}
