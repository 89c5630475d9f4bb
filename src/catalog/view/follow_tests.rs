use super::*;
use crate::sample::{self, World, alloc, alloc_id, node, node_id, service};
use model::{AllocReport, CheckState, CheckStatus, ClientStatus, NodeStatus};
use proptest::prelude::*;
use state::{Command, Garbage};

fn followed() -> (World, Catalog) {
    let world = World::small();
    let catalog = Catalog::rebuild(&world.state);
    (world, catalog)
}

fn report(number: u32) -> AllocReport {
    AllocReport {
        alloc: alloc_id(number),
        client: ClientStatus::Running,
        tasks: [("main".to_owned(), sample::running())].into(),
        ..AllocReport::default()
    }
}

#[test]
fn an_unrelated_change_leaves_a_service_alone() {
    let (mut world, mut catalog) = followed();
    let before = catalog.service_index("web");
    world.add_job(sample::job("other", vec![service("db", &[])]));
    let mut placed = alloc(3, 1);
    placed.job = "other".into();
    let applied = world.place(vec![placed]);
    assert!(catalog.apply(&world.state, &applied));
    assert_eq!(catalog.service_index("web"), before);
    assert_eq!(catalog.service_index("db"), applied.index);
    assert_eq!(catalog.services_index(), applied.index);
}

#[test]
fn what_shows_nothing_new_wakes_nobody() {
    let (mut world, mut catalog) = followed();
    let before = (catalog.service_index("web"), catalog.nodes_index(), catalog.health_index());
    let again = world.add_node(node(1));
    assert!(!again.events.is_empty());
    assert!(!catalog.apply(&world.state, &again));
    let mut restarted = report(1);
    restarted.tasks.entry("main".into()).or_default().restarts = 1;
    let applied = world.report(restarted);
    assert!(!catalog.apply(&world.state, &applied));
    assert_eq!(
        before,
        (catalog.service_index("web"), catalog.nodes_index(), catalog.health_index())
    );
}

#[test]
fn a_health_change_moves_the_service_but_not_the_list() {
    let mut world = World::default();
    world.add_node(node(1));
    let mut checked = service("web", &[]);
    checked.checks.push(Default::default());
    world.add_job(sample::job("job", vec![checked]));
    world.place(vec![alloc(1, 1)]);
    let mut catalog = Catalog::rebuild(&world.state);
    let list = catalog.services_index();
    let mut update = report(1);
    let good = CheckState { status: CheckStatus::Passing, ..CheckState::default() };
    update.checks.insert("0.0".into(), good);
    assert!(catalog.service("web").expect("there").serving.is_empty());
    let applied = world.report(update);
    assert!(catalog.apply(&world.state, &applied));
    assert_eq!(catalog.service_index("web"), applied.index);
    assert_eq!(catalog.services_index(), list);
    assert_eq!(catalog.service("web").expect("there").serving.len(), 1);
}

#[test]
fn a_stopped_allocation_leaves_at_once_and_the_last_one_moves_the_extinction_index() {
    let (mut world, mut catalog) = followed();
    let applied = world.stop(alloc_id(1));
    catalog.apply(&world.state, &applied);
    assert_eq!(catalog.service("web").expect("one is left").instances.len(), 1);
    let nobody = catalog.service_index("nobody");
    let applied = world.stop(alloc_id(2));
    catalog.apply(&world.state, &applied);
    assert!(catalog.service("web").is_none());
    assert_eq!(catalog.service_index("web"), applied.index);
    assert!(catalog.service_index("nobody") > nobody);
}

#[test]
fn a_node_that_falls_silent_turns_its_instances_critical() {
    let (mut world, mut catalog) = followed();
    let down = Command::SetNodeStatus {
        node: node_id(1),
        status: NodeStatus::Down,
        at: Default::default(),
    };
    let applied = world.apply(&down);
    assert!(catalog.apply(&world.state, &applied));
    let web = catalog.service("web").expect("it stays");
    assert_eq!((web.instances.len(), web.serving.len()), (2, 1));
    assert_eq!(catalog.nodes_index(), applied.index);
    assert_eq!(web.index, applied.index);
    let created = web.instances[0].create_index;
    assert!(created < applied.index, "it is the same instance");
}

#[test]
fn a_change_of_a_nodes_metadata_moves_its_services() {
    let (mut world, mut catalog) = followed();
    let mut labelled = node(1);
    labelled.meta.insert("rack".into(), "r7".into());
    let applied = world.add_node(labelled);
    assert!(catalog.apply(&world.state, &applied));
    assert_eq!(catalog.service_index("web"), applied.index);
}

#[test]
fn names_are_found_whatever_their_case() {
    let mut world = World::default();
    world.add_node(node(1));
    world.add_job(sample::job("job", vec![service("Web-API", &[])]));
    world.place(vec![alloc(1, 1)]);
    let mut catalog = Catalog::rebuild(&world.state);
    assert!(catalog.service("web-api").is_none());
    assert!(catalog.service_folded("web-api").is_some());
    assert!(catalog.service_folded("web").is_none());
    assert_eq!(catalog.node_named("N1").map(|node| node.id), Some(node_id(1)));
    assert_eq!(catalog.node_named(&node_id(1).to_string()).map(|node| node.id), Some(node_id(1)));
    let applied = world.stop(alloc_id(1));
    catalog.apply(&world.state, &applied);
    assert!(catalog.service_folded("web-api").is_none());
}

#[test]
fn the_servers_are_a_service() {
    let (_, mut catalog) = followed();
    assert!(catalog.service(SERVERS).is_none());
    let server = Server {
        id: node_id(1),
        name: "n1".into(),
        datacenter: "dc1".into(),
        address: "10.0.0.1".into(),
        port: 4647,
    };
    assert!(catalog.set_servers(std::slice::from_ref(&server)));
    assert!(!catalog.set_servers(&[server]));
    assert_eq!(catalog.service(SERVERS).map(|entry| entry.instances.len()), Some(1));
    assert!(catalog.services().all(|entry| &*entry.name != SERVERS));
}

/// A step of a history; numbers name nodes, allocations and services.
#[derive(Clone, Debug)]
enum Step {
    Register(u8, bool),
    Status(u8, NodeStatus),
    Job(u8, Vec<u8>),
    Place(u32, u8, u8, bool),
    Stop(u32),
    Report(u32, ClientStatus, bool, Option<CheckStatus>),
    Collect(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use NodeStatus::{Disconnected, Down, Ready};
    let (node, alloc, job) = (0..3_u8, 0..8_u32, 0..3_u8);
    let status = prop::sample::select(vec![Ready, Down, Disconnected]);
    let client = prop::sample::select(vec![
        ClientStatus::Running,
        ClientStatus::Running,
        ClientStatus::Pending,
        ClientStatus::Complete,
        ClientStatus::Unknown,
    ]);
    let check = prop::option::of(prop::sample::select(vec![
        CheckStatus::Passing,
        CheckStatus::Warning,
        CheckStatus::Critical,
    ]));
    let step = prop_oneof![
        (node.clone(), any::<bool>()).prop_map(|(n, m)| Step::Register(n, m)),
        (node.clone(), status).prop_map(|(n, s)| Step::Status(n, s)),
        (job.clone(), prop::collection::vec(0..4_u8, 0..3)).prop_map(|(j, s)| Step::Job(j, s)),
        (alloc.clone(), node, job, any::<bool>()).prop_map(|(a, n, j, c)| Step::Place(a, n, j, c)),
        (alloc.clone(), client, any::<bool>(), check)
            .prop_map(|(a, c, r, k)| Step::Report(a, c, r, k)),
        alloc.clone().prop_map(Step::Stop),
        alloc.prop_map(Step::Collect),
    ];
    prop::collection::vec(step, 1..60)
}

fn play(world: &mut World, step: &Step) -> Applied {
    match step {
        Step::Register(n, meta) => {
            let mut node = node(*n);
            if *meta {
                node.meta.insert("rack".into(), "r1".into());
                node.name = format!("Renamed{n}");
            }
            world.add_node(node)
        }
        Step::Status(n, status) => world.apply(&Command::SetNodeStatus {
            node: node_id(*n),
            status: *status,
            at: Default::default(),
        }),
        Step::Job(job, names) => {
            let services = names
                .iter()
                .map(|name| {
                    let mut one = service(&format!("Svc{name}"), &["${meta.rack}"]);
                    one.canary_tags = vec!["canary".into()];
                    one.checks.push(Default::default());
                    one
                })
                .collect();
            world.add_job(sample::job(&format!("job{job}"), services))
        }
        Step::Place(number, on, job, canary) => {
            let mut placed = alloc(*number, *on);
            placed.job = format!("job{job}").into();
            placed.canary = *canary;
            let current = world.state.job(&placed.job).and_then(|job| job.current().cloned());
            placed.job_version = current.map_or(0, |version| version.version);
            world.place(vec![placed])
        }
        Step::Stop(number) => world.stop(alloc_id(*number)),
        Step::Report(number, client, runs, check) => {
            let mut update = report(*number);
            update.client = *client;
            if !runs {
                update.tasks.clear();
            }
            if let Some(status) = check {
                let state = CheckState { status: *status, ..CheckState::default() };
                update.checks.insert("0.0".into(), state);
            }
            world.report(update)
        }
        Step::Collect(number) => world.apply(&Command::CollectGarbage(Garbage {
            allocs: vec![alloc_id(*number)],
            ..Garbage::default()
        })),
    }
}

proptest! {
    #[test]
    fn following_events_equals_rebuilding(steps in steps()) {
        let mut world = World::default();
        let mut catalog = Catalog::default();
        for step in &steps {
            let before: Vec<(Arc<str>, u64)> =
                catalog.services().map(|entry| (entry.name.clone(), entry.index)).collect();
            let applied = play(&mut world, step);
            let changed = catalog.apply(&world.state, &applied);
            let whole = Catalog::rebuild(&world.state);
            prop_assert!(catalog.contents() == whole.contents(), "after {step:?}");
            let quiet =
                before.iter().all(|(name, index)| catalog.service_index(name) == *index);
            prop_assert!(changed || quiet, "an index moved without a change");
            for (name, index) in before {
                prop_assert!(catalog.service_index(&name) >= index, "{name} went back");
            }
        }
    }
}
