//! `group {}`.

use model::{EphemeralDisk, Group, JobType, Restart};

use super::job::Inherited;
use super::places::GroupPlace;
use super::reader::Reader;
use super::{constraint, network, policy, service, task};

/// Reads a group.
pub(super) fn read(reader: &Reader<'_>, name: &str, job: &Inherited) -> (Group, GroupPlace) {
    let mut group = bare(name, job);
    let scaling_min = reader.block("scaling").and_then(|scaling| {
        // The rest of the block is read for its mistakes only.
        scaling.count("max");
        scaling.count("min")
    });
    group.count = reader.count("count").or(scaling_min).unwrap_or(1);
    group.constraints = constraint::all(reader);
    policy::restart(reader, &mut group.restart_policy);

    let mut update = job.update.clone();
    policy::update(reader, &mut update);
    group.update =
        takes_update(job.kind).then_some(update).filter(|update| update.max_parallel > 0);
    match &mut group.reschedule_policy {
        Some(reschedule) => policy::reschedule(reader, reschedule),
        None => policy::reschedule(reader, &mut model::Reschedule::default()),
    }
    let mut migrate = job.migrate.clone();
    policy::migrate(reader, &mut migrate);
    group.migrate = (job.kind == JobType::Service).then_some(migrate);

    if let Some(disk) = reader.block("ephemeral_disk") {
        let default = EphemeralDisk::default();
        group.ephemeral_disk = EphemeralDisk {
            sticky: disk.flag("sticky").unwrap_or(default.sticky),
            size_mb: disk.whole("size", 0..=i64::MAX).unwrap_or(default.size_mb),
            migrate: disk.flag("migrate").unwrap_or(default.migrate),
        };
    }
    group.networks = network::all(reader);
    group.services = service::all(reader, job, name, None);
    group.shutdown_delay = reader.duration("shutdown_delay");
    group.meta = reader.text_map("meta");
    let mut place = GroupPlace { path: reader.path.clone(), tasks: Vec::new() };
    for (inner, block) in reader.blocks("task") {
        let read = task::read(&inner, block.label(), &group, job);
        group.tasks.push(read);
        place.tasks.push(inner.path.clone());
    }
    name_script_tasks(&mut group);
    (group, place)
}

/// A script check of the group runs in its only task, unless the file names one.
fn name_script_tasks(group: &mut Group) {
    let [only] = group.tasks.as_slice() else { return };
    let checks = group.services.iter_mut().flat_map(|service| &mut service.checks);
    for check in checks.filter(|check| check.kind == model::CheckType::Script) {
        if check.task_name.is_empty() {
            check.task_name.clone_from(&only.name);
        }
    }
}

/// A group that says nothing itself: what a job's own task is wrapped in.
pub(super) fn bare(name: &str, job: &Inherited) -> Group {
    Group {
        name: name.to_owned(),
        count: 1,
        restart_policy: Restart::default_for(job.kind),
        reschedule_policy: job.reschedule.clone(),
        update: takes_update(job.kind)
            .then(|| job.update.clone())
            .filter(|update| update.max_parallel > 0),
        migrate: (job.kind == JobType::Service).then(|| job.migrate.clone()),
        ..Group::default()
    }
}

/// Whether jobs of this type roll out in batches.
const fn takes_update(kind: JobType) -> bool {
    matches!(kind, JobType::Service | JobType::System)
}
