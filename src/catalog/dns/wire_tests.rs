use hickory_proto::rr::RData;
use proptest::prelude::*;

use super::*;
use crate::sample::{self, World, alloc, node, service};

/// `count` instances on as many nodes.
fn many(count: u16) -> Catalog {
    let mut world = World::default();
    world.add_job(sample::job("job", vec![service("web", &[])]));
    let mut allocs = Vec::new();
    for number in 0..count {
        let mut one = node(0);
        one.id = model::NodeId::new(model::seeded_uuid(&[&number.to_be_bytes()]));
        one.name = format!("node-{number}");
        let [high, low] = number.to_be_bytes();
        one.address = format!("10.1.{high}.{low}");
        let mut placed = alloc(number.into(), 0);
        placed.node = one.id;
        world.add_node(one);
        allocs.push(placed);
    }
    world.place(allocs);
    Catalog::rebuild(&world.state)
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

fn exchange(catalog: &Catalog, query: &Message, udp: bool) -> (Message, Vec<u8>) {
    let bytes = query.to_vec().expect("encodes");
    let mut reply = Vec::new();
    assert!(respond(catalog, &Config::default(), &bytes, udp, 3, &mut reply));
    (Message::from_vec(&reply).expect("a message"), reply)
}

fn with_size(mut query: Message, size: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    query.set_edns(edns);
    query
}

#[test]
fn a_reply_is_one_that_others_can_read() {
    let catalog = many(2);
    let (reply, _) = exchange(&catalog, &query("web.service.consul.", RecordType::A), true);
    assert_eq!(reply.metadata.id, 4711);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_desired);
    assert!(!reply.metadata.recursion_available && !reply.metadata.truncation);
    assert_eq!(reply.answers.len(), 2);
    assert_eq!(reply.answers[0].name.to_ascii(), "web.service.consul.");
    assert!(reply.edns.is_none(), "there was none in the query");
    assert!(reply.authorities.is_empty());
}

#[test]
fn the_question_comes_back_byte_for_byte() {
    let asked = query("wEb.SerVice.cOnSul.", RecordType::A);
    let bytes = asked.to_vec().expect("encodes");
    let (reply, raw) = exchange(&many(1), &asked, true);
    assert_eq!(raw[HEADER..bytes.len()], bytes[HEADER..]);
    let name = &reply.answers[0].name;
    assert!(name.eq_case(asked.queries[0].name()), "the owner is what was asked for");
}

#[test]
fn a_no_carries_the_soa_of_the_domain() {
    let catalog = many(1);
    for (name, kind, code) in [
        ("web.service.consul.", RecordType::AAAA, ResponseCode::NoError),
        ("nope.service.consul.", RecordType::A, ResponseCode::NXDomain),
        ("nope.consul.", RecordType::A, ResponseCode::NXDomain),
        ("consul.", RecordType::A, ResponseCode::NoError),
    ] {
        let (reply, _) = exchange(&catalog, &query(name, kind), true);
        assert_eq!(reply.metadata.response_code, code, "{name}");
        assert!(reply.answers.is_empty() && reply.metadata.authoritative);
        assert_eq!(reply.authorities.len(), 1, "{name}");
        assert_eq!(reply.authorities[0].name.to_ascii(), "consul.");
        let RData::SOA(soa) = &reply.authorities[0].data else { panic!("{reply:?}") };
        assert_eq!(soa.mname.to_ascii(), "ns.consul.");
        assert_eq!(soa.rname.to_ascii(), "hostmaster.consul.");
        assert_eq!(u64::from(soa.serial), catalog.index());
    }
    let (reply, _) = exchange(&catalog, &query("example.com.", RecordType::A), true);
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    assert!(!reply.metadata.authoritative && reply.authorities.is_empty());
}

#[test]
fn locations_bring_their_addresses() {
    let catalog = many(3);
    let (reply, _) = exchange(&catalog, &query("_web._tcp.service.consul.", RecordType::SRV), true);
    assert_eq!((reply.answers.len(), reply.additionals.len()), (3, 3));
    for (answer, extra) in reply.answers.iter().zip(&reply.additionals) {
        let RData::SRV(srv) = &answer.data else { panic!("{answer:?}") };
        assert_eq!((srv.priority, srv.weight), (1, 1));
        assert_eq!(srv.target, extra.name);
        assert!(matches!(extra.data, RData::A(_)));
    }
}

#[test]
fn what_does_not_fit_is_cut_and_said_to_be() {
    let catalog = many(300);
    for kind in [RecordType::A, RecordType::SRV] {
        let plain = query("web.service.consul.", kind);
        let mut last = 0;
        for (asked, limit) in [
            (plain.clone(), 512),
            (with_size(plain.clone(), 512), 512),
            (with_size(plain.clone(), 1232), 1232),
            (with_size(plain.clone(), 4096), 4096),
        ] {
            let (reply, raw) = exchange(&catalog, &asked, true);
            assert!(raw.len() <= limit, "{} > {limit}", raw.len());
            assert!(raw.len() + 80 > limit, "room was left: {} of {limit}", raw.len());
            assert!(reply.metadata.truncation, "{kind} {limit}");
            assert_eq!(reply.edns.is_some(), asked.edns.is_some());
            assert!(reply.answers.len() + 1 >= last);
            last = reply.answers.len();
            if kind == RecordType::SRV {
                assert_eq!(reply.additionals.len(), reply.answers.len());
            }
        }
        let (reply, _) = exchange(&catalog, &plain, false);
        assert_eq!(reply.answers.len(), 300, "all of it over TCP");
        assert!(!reply.metadata.truncation);
    }
}

#[test]
fn a_size_beyond_what_is_configured_is_not_granted() {
    let asked = with_size(query("web.service.consul.", RecordType::A), 65_000);
    let (reply, raw) = exchange(&many(1000), &asked, true);
    assert!(raw.len() <= 8192 && reply.metadata.truncation);
    assert_eq!(reply.edns.map(|edns| edns.max_payload()), Some(8192));
}

#[test]
fn over_tcp_the_length_field_is_the_limit() {
    let catalog = many(5000);
    for kind in [RecordType::A, RecordType::SRV] {
        let (reply, raw) = exchange(&catalog, &query("web.service.consul.", kind), false);
        assert!(raw.len() <= LARGEST && reply.metadata.truncation);
        assert!(reply.answers.len() > 500);
    }
}

#[test]
fn a_subnet_comes_back_for_everybody() {
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new([10, 1, 0, 0].into(), 16, 0)));
    let mut asked = query("web.service.consul.", RecordType::A);
    asked.set_edns(edns);
    let (reply, _) = exchange(&many(1), &asked, true);
    let edns = reply.edns.expect("an OPT");
    let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) else {
        panic!("no subnet");
    };
    assert_eq!((subnet.addr().to_string().as_str(), subnet.source_prefix()), ("10.1.0.0", 16));
    assert_eq!(subnet.scope_prefix(), 0);
}

#[test]
fn odd_queries_get_the_code_they_deserve() {
    let catalog = many(1);
    let code = |asked: &Message| exchange(&catalog, asked, true).0.metadata.response_code;
    let base = query("web.service.consul.", RecordType::A);
    assert_eq!(code(&query("consul.", RecordType::AXFR)), ResponseCode::NotImp);

    let mut none = base.clone();
    none.queries.clear();
    assert_eq!(code(&none), ResponseCode::Refused);
    let mut two = base.clone();
    two.add_query(base.queries[0].clone());
    assert_eq!(code(&two), ResponseCode::FormErr);
    let mut chaos = base.clone();
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut update = base.clone();
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&update), ResponseCode::NotImp);
    let mut edns = Edns::new();
    edns.set_version(1);
    let mut newer = base.clone();
    newer.set_edns(edns);
    // 16 is BADSIG in one place and BADVERS in this.
    assert_eq!(u16::from(code(&newer)), u16::from(ResponseCode::BADVERS));

    let mut reply = Vec::new();
    let mut response = base;
    response.metadata.message_type = MessageType::Response;
    let bytes = response.to_vec().expect("encodes");
    assert!(!respond(&catalog, &Config::default(), &bytes, true, 1, &mut reply));
    assert!(!respond(&catalog, &Config::default(), &bytes[..5], true, 1, &mut reply));
}

#[test]
fn the_domain_answers_for_itself() {
    let catalog = many(1);
    let (reply, _) = exchange(&catalog, &query("Herder.", RecordType::SOA), true);
    let RData::SOA(soa) = &reply.answers[0].data else { panic!("{reply:?}") };
    assert_eq!(soa.mname.to_ascii(), "ns.Herder.");
    let (reply, _) = exchange(&catalog, &query("herder.", RecordType::NS), true);
    assert!(matches!(&reply.answers[0].data, RData::NS(name) if name.0.to_ascii() == "ns.herder."));
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..120), udp in any::<bool>()) {
        let mut reply = Vec::new();
        respond(&Catalog::default(), &Config::default(), &bytes, udp, 1, &mut reply);
    }

    #[test]
    fn a_damaged_query_gets_a_readable_reply(
        at in 0..60_usize,
        value in any::<u8>(),
        kind in prop::sample::select(vec![RecordType::A, RecordType::SRV, RecordType::ANY]),
    ) {
        let catalog = Catalog::rebuild(&World::small().state);
        let mut bytes =
            with_size(query("web.service.consul.", kind), 1232).to_vec().expect("encodes");
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        let mut reply = Vec::new();
        if respond(&catalog, &Config::default(), &bytes, true, 1, &mut reply) {
            prop_assert!(Message::from_vec(&reply).is_ok());
            prop_assert!(reply.len() <= 8192);
        }
    }
}
