use super::*;
use crate::sample::{self, World, alloc, node, node_id, service};
use crate::view::Server;
use model::{Check, CheckState, CheckStatus, NodeStatus};
use state::Command;

fn ask_of(catalog: &Catalog, config: &Config, name: &str, kind: RecordType, seed: u64) -> Answer {
    let name = Name::from_ascii(name).expect("a name");
    answer(catalog, config, &name, kind, seed, 4096)
}

fn ask(catalog: &Catalog, name: &str, kind: RecordType) -> Answer {
    ask_of(catalog, &Config::default(), name, kind, 7)
}

fn ips(answer: &Answer) -> Vec<String> {
    let mut all: Vec<String> = answer
        .records
        .iter()
        .map(|record| match &record.data {
            Data::A(ip) => ip.to_string(),
            Data::Aaaa(ip) => ip.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    all.sort();
    all
}

fn small() -> Catalog {
    Catalog::rebuild(&World::small().state)
}

const BOTH: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

#[test]
fn a_service_by_all_its_names() {
    let catalog = small();
    for name in [
        "web.service.consul.",
        "WEB.Service.CONSUL.",
        "web.service.herder.",
        "web.service.dc1.consul.",
        "web.service.dc1.dc.consul.",
        "v1.web.service.consul.",
        "prod.eu.web.service.consul.",
        "_web._tcp.service.consul.",
        "_web._v1.service.consul.",
        "_web._tcp.consul.",
    ] {
        let found = ask(&catalog, name, RecordType::A);
        assert_eq!(found.code, ResponseCode::NoError, "{name}");
        assert_eq!(ips(&found), BOTH, "{name}");
    }
}

#[test]
fn what_is_not_there_does_not_exist() {
    let catalog = small();
    for name in [
        "nope.service.consul.",
        "v2.web.service.consul.",
        "_web._udp.service.consul.",
        "web.service.dc2.consul.",
        "nope.node.consul.",
        "n1.node.dc2.consul.",
        "zz.addr.consul.",
        "foo.consul.",
        "web.query.consul.",
        "ns.consul.",
    ] {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::TXT] {
            let found = ask(&catalog, name, kind);
            assert_eq!(found.code, ResponseCode::NXDomain, "{name} {kind}");
            assert!(found.records.is_empty() && found.zone.is_some(), "{name} {kind}");
        }
    }
}

#[test]
fn a_name_without_records_of_a_type_still_exists() {
    let catalog = small();
    for (name, kind) in [
        ("web.service.consul.", RecordType::AAAA),
        ("web.service.consul.", RecordType::TXT),
        ("web.service.consul.", RecordType::MX),
        ("n1.node.consul.", RecordType::AAAA),
        ("n1.node.consul.", RecordType::SRV),
        ("0a000001.addr.consul.", RecordType::AAAA),
        ("service.consul.", RecordType::A),
        ("consul.", RecordType::A),
    ] {
        let found = ask(&catalog, name, kind);
        assert_eq!((found.code, found.records.len()), (ResponseCode::NoError, 0), "{name} {kind}");
        assert!(found.zone.is_some());
    }
}

#[test]
fn outside_of_the_domains_is_refused() {
    let catalog = small();
    for name in ["example.com.", "web.service.consul.example.", "notconsul.", "."] {
        let found = ask(&catalog, name, RecordType::A);
        assert_eq!((found.code, found.zone), (ResponseCode::Refused, None), "{name}");
    }
}

#[test]
fn transfers_are_not_offered() {
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(ask(&small(), "consul.", kind).code, ResponseCode::NotImp);
    }
}

#[test]
fn critical_instances_are_left_out_and_none_left_means_no_such_name() {
    let mut world = World::default();
    for number in 1..=3 {
        world.add_node(node(number));
    }
    let mut web = service("web", &[]);
    web.checks.push(Check::default());
    world.add_job(sample::job("job", vec![web]));
    let placed = [(1, CheckStatus::Passing), (2, CheckStatus::Warning), (3, CheckStatus::Critical)];
    let allocs = placed.map(|(number, status)| {
        let mut one = alloc(number.into(), number);
        let state = CheckState { status, ..CheckState::default() };
        one.checks.insert("0.0".into(), state);
        one
    });
    world.place(allocs.to_vec());
    let catalog = Catalog::rebuild(&world.state);
    let name = "web.service.consul.";
    assert_eq!(ips(&ask(&catalog, name, RecordType::A)), BOTH);
    let strict = Config { only_passing: true, ..Config::default() };
    assert_eq!(ips(&ask_of(&catalog, &strict, name, RecordType::A, 1)), ["10.0.0.1"]);

    for number in [1, 2] {
        let status = NodeStatus::Down;
        world.apply(&Command::SetNodeStatus {
            node: node_id(number),
            status,
            at: Default::default(),
        });
    }
    let catalog = Catalog::rebuild(&world.state);
    for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV] {
        assert_eq!(ask(&catalog, name, kind).code, ResponseCode::NXDomain);
    }
    assert_eq!(ask(&catalog, "n1.node.consul.", RecordType::A).records.len(), 1);
}

#[test]
fn locations_point_to_nodes_or_addresses_and_bring_them_along() {
    let mut world = World::small();
    let mut fixed = service("fixed", &[]);
    fixed.address = "192.168.9.9".into();
    world.add_job(sample::job("other", vec![fixed]));
    let mut placed = alloc(3, 1);
    placed.job = "other".into();
    world.place(vec![placed]);
    let catalog = Catalog::rebuild(&world.state);

    let found = ask(&catalog, "_web._tcp.service.herder.", RecordType::SRV);
    let mut targets: Vec<_> = found
        .records
        .iter()
        .map(|record| match &record.data {
            Data::Srv { port, target, glue } => (*port, target.to_ascii(), *glue),
            other => panic!("{other:?}"),
        })
        .collect();
    targets.sort();
    let ip = |last| Some(IpAddr::from([10, 0, 0, last]));
    assert_eq!(
        targets,
        [
            (20_001, "n1.node.dc1.herder.".to_owned(), ip(1)),
            (20_002, "n2.node.dc1.herder.".to_owned(), ip(2))
        ]
    );
    for (_, target, glue) in targets {
        assert_eq!(ips(&ask(&catalog, &target, RecordType::A)), [glue.expect("glue").to_string()]);
    }

    let found = ask(&catalog, "fixed.service.consul.", RecordType::SRV);
    let Data::Srv { target, .. } = &found.records[0].data else { panic!("{found:?}") };
    assert_eq!(target.to_ascii(), "c0a80909.addr.dc1.consul.");
    assert_eq!(ips(&ask(&catalog, &target.to_ascii(), RecordType::A)), ["192.168.9.9"]);
}

#[test]
fn one_address_is_answered_once_and_each_port_is_a_location() {
    let mut world = World::default();
    world.add_node(node(1));
    world.add_job(sample::job("job", vec![service("web", &[])]));
    world.place(vec![alloc(1, 1), alloc(2, 1)]);
    let catalog = Catalog::rebuild(&world.state);
    assert_eq!(ips(&ask(&catalog, "web.service.consul.", RecordType::A)), ["10.0.0.1"]);
    let found = ask(&catalog, "web.service.consul.", RecordType::SRV);
    assert_eq!(found.records.len(), 2);
    let glue = found
        .records
        .iter()
        .filter(|record| matches!(&record.data, Data::Srv { glue: Some(_), .. }));
    assert_eq!(glue.count(), 1, "the address is said once");
}

#[test]
fn ipv6_and_host_names() {
    let mut world = World::default();
    world.add_node(model::Node { address: "2001:db8::1".into(), ..node(1) });
    let mut named = service("named", &[]);
    named.address = "db.example.com".into();
    world.add_job(sample::job("job", vec![service("web", &[]), named]));
    world.place(vec![alloc(1, 1)]);
    let catalog = Catalog::rebuild(&world.state);
    assert_eq!(ips(&ask(&catalog, "web.service.consul.", RecordType::AAAA)), ["2001:db8::1"]);
    assert_eq!(ips(&ask(&catalog, "web.service.consul.", RecordType::ANY)), ["2001:db8::1"]);
    assert!(ask(&catalog, "web.service.consul.", RecordType::A).records.is_empty());
    let found = ask(&catalog, "named.service.consul.", RecordType::A);
    let wanted = Data::Cname(Name::from_ascii("db.example.com").expect("a name"));
    assert_eq!(found.records.first().map(|record| &record.data), Some(&wanted));
}

#[test]
fn nodes_say_their_metadata() {
    let mut world = World::default();
    let mut one = node(1);
    one.meta.insert("rack".into(), "r7".into());
    one.meta.insert("rfc1035-note".into(), "bare".into());
    world.add_node(one);
    let catalog = Catalog::rebuild(&world.state);
    let texts: Vec<_> = ask(&catalog, "N1.node.consul.", RecordType::TXT)
        .records
        .into_iter()
        .map(|record| record.data)
        .collect();
    assert_eq!(texts, [Data::Txt("rack=r7".into()), Data::Txt("bare".into())]);
    assert_eq!(ask(&catalog, "n1.node.consul.", RecordType::ANY).records.len(), 3);
}

#[test]
fn the_domain_names_its_servers() {
    let mut catalog = small();
    let none = ask(&catalog, "consul.", RecordType::NS);
    assert!(
        matches!(&none.records[0].data, Data::Ns(name, None) if name.to_ascii() == "ns.consul.")
    );
    let servers: Vec<Server> = (1..=5)
        .map(|number| Server {
            id: node_id(number),
            name: format!("s{number}"),
            datacenter: "dc1".into(),
            address: format!("10.0.1.{number}"),
            port: 4647,
        })
        .collect();
    catalog.set_servers(&servers);
    assert_eq!(ask(&catalog, "consul.", RecordType::SOA).records[0].data, Data::Soa);
    let found = ask(&catalog, "consul.", RecordType::NS);
    assert_eq!(found.records.len(), 3);
    assert!(matches!(&found.records[0].data, Data::Ns(name, Some(_))
        if name.to_ascii() == "s1.node.dc1.consul."));
    assert_eq!(ask(&catalog, "consul.service.consul.", RecordType::A).records.len(), 5);
    assert_eq!(ask(&catalog, "ns.consul.", RecordType::A).records.len(), 5);
    assert_eq!(ask(&catalog, "s1.node.dc1.consul.", RecordType::A).records.len(), 1);
}

#[test]
fn the_order_changes_and_every_instance_comes_first_at_times() {
    let mut world = World::default();
    world.add_job(sample::job("job", vec![service("web", &[])]));
    for number in 1..=5 {
        world.add_node(node(number));
    }
    world.place((1..=5).map(|number| alloc(number.into(), number)).collect());
    let catalog = Catalog::rebuild(&world.state);
    for kind in [RecordType::A, RecordType::SRV] {
        let mut firsts = HashSet::new();
        for seed in 0..200 {
            let config = Config::default();
            let found = ask_of(&catalog, &config, "web.service.consul.", kind, seed);
            assert_eq!(found.records.len(), 5);
            assert_eq!(found, ask_of(&catalog, &config, "web.service.consul.", kind, seed));
            firsts.insert(format!("{:?}", found.records[0]));
        }
        assert_eq!(firsts.len(), 5);
    }
}

#[test]
fn no_more_is_made_than_there_is_room_for() {
    let catalog = small();
    let name = Name::from_ascii("web.service.consul.").expect("a name");
    let config = Config { ttl: 5, ..Config::default() };
    let found = answer(&catalog, &config, &name, RecordType::A, 1, 1);
    assert_eq!((found.records.len(), found.more), (1, true));
    assert_eq!(found.records[0].ttl, 5);
    assert!(!answer(&catalog, &config, &name, RecordType::A, 1, 2).more);
}
