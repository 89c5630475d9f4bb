//! Cores, devices and memory, from what placement gave to what the driver is told.

use model::{AllocResources, DeviceGrant, DeviceInstance, NodeDevice, NodeResources, TaskGrant};

use super::*;

fn machine() -> Node {
    let instance = DeviceInstance { id: "a".into(), healthy: true, path: "/dev/ttyA".into() };
    let device = NodeDevice {
        vendor: "acme".into(),
        kind: "serial".into(),
        name: "usb".into(),
        instances: vec![instance],
        ..NodeDevice::default()
    };
    let resources = NodeResources {
        cpu: 8000,
        cores: vec![0, 1, 2, 3],
        devices: vec![device],
        ..NodeResources::default()
    };
    let attributes = [("cpu.numcores".to_owned(), "4".to_owned())].into();
    Node { resources, attributes, ..Node::default() }
}

fn of(seed: &[u8], task_name: &str, grant: TaskGrant) -> Assignment {
    let mut task = task(task_name);
    task.resources.memory_max_mb = 512;
    let assigned = assignment(JobType::Service, group(vec![task]));
    changed(&assigned, |alloc| {
        alloc.id = AllocId::new(model::seeded_uuid(&[seed]));
        let tasks = [(task_name.to_owned(), grant)].into();
        alloc.resources = AllocResources { tasks, ..AllocResources::default() };
    })
}

#[tokio::test(start_paused = true)]
async fn who_has_no_cores_makes_room_for_who_has() {
    let mut stage = Stage { node: machine(), ..Stage::new() };
    let plain = of(b"plain", "plain", TaskGrant::default());
    stage.assign(vec![plain.clone()]).await;
    stage.world.until("start plain", 1).await;
    assert_eq!(stage.world.spec("plain").hardware, driver::Hardware::default());
    stage.newest(ClientStatus::Running).await;

    let own = of(b"own", "own", TaskGrant { cores: vec![1, 2], ..TaskGrant::default() });
    stage.assign(vec![plain.clone(), own.clone()]).await;
    stage.world.until("cores plain 0,3", 1).await;
    stage.world.until("start own", 1).await;
    let spec = stage.world.spec("own");
    assert_eq!((spec.hardware.cores, spec.hardware.alone), (vec![1, 2], true));
    assert_eq!(spec.resources.cpu, 4000);
    assert_eq!((&*spec.env["NOMAD_CPU_CORES"], &*spec.env["NOMAD_CPU_LIMIT"]), ("1-2", "4000"));
    // Who comes later starts there.
    let late = of(b"late", "late", TaskGrant::default());
    stage.assign(vec![plain.clone(), own.clone(), late.clone()]).await;
    stage.world.until("start late", 1).await;
    assert_eq!(stage.world.spec("late").hardware.cores, [0, 3]);

    // An agent that is killed does not forget who has what.
    stage.kill().await;
    stage.start().await;
    stage.world.until("cores plain 0,3", 2).await;

    let over = changed(&own, |alloc| {
        alloc.desired = DesiredStatus::Stop;
        alloc.client = ClientStatus::Complete;
    });
    stage.assign(vec![plain, over, late]).await;
    stage.world.until("cores plain 0-3", 1).await;
    stage.world.until("cores late 0-3", 1).await;
    assert!(!stage.world.log().iter().any(|line| line.starts_with("cores own")));
}

#[tokio::test(start_paused = true)]
async fn cores_that_are_left_during_a_start_are_for_it_too() {
    let mut stage = Stage { node: machine(), ..Stage::new() };
    let own = of(b"own", "own", TaskGrant { cores: vec![1, 2], ..TaskGrant::default() });
    let late = of(b"late", "late", TaskGrant::default());
    stage.assign(vec![own.clone()]).await;
    stage.world.until("start own", 1).await;
    stage.world.hold(Hold::Before);
    stage.assign(vec![own.clone(), late.clone()]).await;
    stage.world.until("ask late", 1).await;
    let over = changed(&own, |alloc| {
        alloc.desired = DesiredStatus::Stop;
        alloc.client = ClientStatus::Complete;
    });
    stage.assign(vec![over, late]).await;
    stage.world.until("stop own", 1).await;
    stage.world.hold(Hold::Nowhere);
    stage.world.until("cores late 0-3", 1).await;
    assert_eq!(stage.world.spec("late").hardware.cores, [0, 3], "as it was when it began");
}

#[tokio::test(start_paused = true)]
async fn cores_that_are_left_while_no_agent_was_there_are_for_all() {
    let mut stage = Stage { node: machine(), ..Stage::new() };
    let plain = of(b"plain", "plain", TaskGrant::default());
    let own = of(b"own", "own", TaskGrant { cores: vec![1, 2], ..TaskGrant::default() });
    stage.assign(vec![own.clone()]).await;
    stage.world.until("start own", 1).await;
    // Started on what is left, and the agent is killed before it wrote down how to find it.
    stage.world.hold(Hold::After);
    stage.assign(vec![plain.clone(), own.clone()]).await;
    stage.world.until("start plain", 1).await;
    stage.kill().await;
    stage.world.hold(Hold::Nowhere);
    let over = changed(&own, |alloc| {
        alloc.desired = DesiredStatus::Stop;
        alloc.client = ClientStatus::Complete;
    });
    stage.upstream.assign(vec![plain, over]);
    // The list has come before what runs is found.
    stage.world.blind(9);
    stage.start().await;
    stage.world.until("cores plain 0-3", 1).await;
    assert_eq!(stage.world.count("ask plain"), 1, "it was found and not started again");
}

#[tokio::test(start_paused = true)]
async fn a_task_gets_its_devices_or_does_not_start() {
    let grant = |id: &str| TaskGrant {
        devices: vec![DeviceGrant {
            vendor: "acme".into(),
            kind: "serial".into(),
            name: "usb".into(),
            ids: vec![id.into()],
        }],
        ..TaskGrant::default()
    };
    let mut stage = Stage { node: machine(), ..Stage::new() };
    stage.assign(vec![of(b"here", "here", grant("a"))]).await;
    stage.world.until("start here", 1).await;
    let spec = stage.world.spec("here");
    assert_eq!(spec.hardware.devices, [std::path::Path::new("/dev/ttyA")]);
    assert_eq!(spec.env["HERDER_DEVICE_SERIAL"], "/dev/ttyA");

    stage.assign(vec![of(b"gone", "gone", grant("b"))]).await;
    let failed = stage.newest(ClientStatus::Failed).await;
    let said = failed.tasks["gone"]
        .events
        .iter()
        .any(|event| event.message.contains("acme/serial/usb `b`"));
    assert!(said, "{:?}", failed.tasks["gone"].events);
    assert_eq!(stage.world.count("start gone"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_cluster_says_whether_memory_max_counts() {
    for (tune, most) in [
        ((|_| ()) as fn(&mut Options), 512),
        (|options| options.memory_oversubscription = Arc::new(|| false), 0),
    ] {
        let mut stage = Stage { tune, ..Stage::new() };
        stage.assign(vec![of(b"a", "a", TaskGrant::default())]).await;
        stage.world.until("start a", 1).await;
        let spec = stage.world.spec("a");
        assert_eq!(spec.resources.memory_max_mb, most);
        assert_eq!(spec.env.contains_key("NOMAD_MEMORY_MAX_LIMIT"), most > 0);
    }
}
