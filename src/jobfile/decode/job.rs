//! `job {}`.

use std::cell::RefCell;

use model::{GitopsBlock, Job, JobId, JobType};

use super::places::{GroupPlace, Places};
use super::reader::{Context, Reader};
use super::{constraint, group, policy, task};
use crate::expr::Value;
use crate::report::Sink;
use crate::schema::Schema;
use crate::tree::Block;

/// The highest priority; Nomad's default ceiling.
pub(crate) const MAX_PRIORITY: i64 = 100;

/// What groups inherit from their job.
pub(super) struct Inherited {
    pub(super) job: String,
    pub(super) kind: JobType,
    pub(super) update: model::Update,
    pub(super) reschedule: Option<model::Reschedule>,
    pub(super) migrate: model::Migrate,
}

/// Reads the `job` block.
pub(crate) fn decode(
    block: &Block<Value>,
    schema: &'static Schema,
    sink: &Sink<'_>,
) -> (Job, Places) {
    let context = Context { sink, places: RefCell::default() };
    let reader = Reader::new(&context, block, schema, "job".to_owned());
    let job = read(&reader, block.label());
    drop(reader);
    (job, context.places.into_inner())
}

fn read(reader: &Reader<'_>, label: &str) -> Job {
    let id = reader.text("id").unwrap_or_else(|| label.to_owned());
    let kinds = [JobType::Service, JobType::Batch, JobType::System, JobType::Sysbatch];
    let kinds = kinds.map(|kind| (kind.as_str(), kind));
    let kind = reader.choice("type", &kinds).unwrap_or_default();
    let or = |name: &str, default: &str| {
        reader.text(name).filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let name = or("name", &id);

    let mut update = model::Update::default();
    policy::update(reader, &mut update);
    let mut reschedule = model::Reschedule::default_for(kind);
    match &mut reschedule {
        Some(reschedule) => policy::reschedule(reader, reschedule),
        // Read all the same, for its mistakes.
        None => policy::reschedule(reader, &mut model::Reschedule::default()),
    }
    let mut migrate = model::Migrate::default();
    policy::migrate(reader, &mut migrate);
    let inherited = Inherited { job: name.clone(), kind, update, reschedule, migrate };

    let mut groups = Vec::new();
    for (inner, block) in reader.blocks("group") {
        let (group, place) = group::read(&inner, block.label(), &inherited);
        groups.push(group);
        reader.context.places.borrow_mut().add_group(place);
    }
    for (inner, block) in reader.blocks("task") {
        let mut group = group::bare(block.label(), &inherited);
        let read = task::read(&inner, block.label(), &group, &inherited);
        group.tasks.push(read);
        groups.push(group);
        let place = GroupPlace { path: inner.path.clone(), tasks: vec![inner.path.clone()] };
        reader.context.places.borrow_mut().add_group(place);
    }

    let gitops = reader.block("gitops").map_or_else(GitopsBlock::default, |inner| GitopsBlock {
        restart_on_meta: inner.flag("restart_on_meta").unwrap_or_default(),
    });
    Job {
        id: JobId::from(id),
        name,
        namespace: or("namespace", "default"),
        region: or("region", "global"),
        kind,
        priority: reader.whole("priority", 1..=MAX_PRIORITY).unwrap_or(50),
        all_at_once: reader.flag("all_at_once").unwrap_or_default(),
        datacenters: reader.texts("datacenters").unwrap_or_else(|| vec!["*".to_owned()]),
        node_pool: or("node_pool", "default"),
        constraints: constraint::all(reader),
        task_groups: groups,
        meta: reader.text_map("meta"),
        gitops,
        ..Job::default()
    }
}
