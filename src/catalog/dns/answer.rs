//! What is answered to a question: a pure function of the catalog.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use model::Node;

use super::Config;
use super::ask::{Asked, lower, read, split};
use crate::view::{Catalog, Endpoint, Entry};

/// Name servers that are listed for a domain.
const NAME_SERVERS: usize = 3;

/// An answer. Every record of it is owned by the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub code: ResponseCode,
    /// How many labels of the question stand before the domain; `None` outside of our domains.
    pub zone: Option<usize>,
    /// The records. What goes into the additional section hangs on them.
    pub records: Vec<Record>,
    /// The SOA's serial number: the catalog's index.
    pub serial: u32,
    /// Whether there are more records than there was room for.
    pub more: bool,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// The rest.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name for the same.
    Cname(Name),
    /// Text.
    Txt(String),
    /// The domain's start of authority.
    Soa,
    /// A server of the domain, with its address for the additional section.
    Ns(Name, Option<IpAddr>),
    /// Where a service is.
    Srv {
        /// The port.
        port: u16,
        /// The host.
        target: Name,
        /// Its address, for the additional section; absent when an earlier record says it.
        glue: Option<IpAddr>,
    },
}

impl Data {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::A(ip),
            IpAddr::V6(ip) => Self::Aaaa(ip),
        }
    }
}

/// Answers a question of class IN. The order of what is equal follows from `seed`; at most `room` records are made.
pub fn answer(
    catalog: &Catalog,
    config: &Config,
    name: &Name,
    kind: RecordType,
    seed: u64,
    room: usize,
) -> Answer {
    let text = lower(name);
    let mut answer = Answer {
        code: ResponseCode::Refused,
        zone: None,
        records: Vec::new(),
        serial: catalog.index() as u32,
        more: false,
    };
    let Some((before, domain)) = split(&text, &config.domains) else { return answer };
    answer.zone = Some(before.split('.').filter(|label| !label.is_empty()).count());
    answer.code = ResponseCode::NoError;
    if matches!(kind, RecordType::AXFR | RecordType::IXFR) {
        answer.code = ResponseCode::NotImp;
        return answer;
    }
    let mut asker = Asker { catalog, config, domain, kind, seed, room, answer };
    let exists = match read(before) {
        Asked::Apex => asker.apex(),
        Asked::NameServer => asker.service(catalog.servers(), None, None),
        Asked::Empty => true,
        Asked::Service { name, tag, datacenter } => catalog
            .service_folded(&name)
            .is_some_and(|entry| asker.service(entry, tag.as_deref(), datacenter)),
        Asked::Node { name, datacenter } => match catalog.node_named(&name) {
            Some(node) => in_datacenter(datacenter, &node.datacenter) && asker.node(node),
            // A server that runs no allocations is not among the nodes, but NS records name it.
            None => catalog
                .servers()
                .instances
                .iter()
                .filter(|server| server.node_name.eq_ignore_ascii_case(&name))
                .find(|server| in_datacenter(datacenter, &server.datacenter))
                .is_some_and(|server| asker.host(&server.node_address)),
        },
        Asked::Address(ip) => asker.address(ip),
        Asked::Nothing => false,
    };
    if !exists {
        asker.answer.code = ResponseCode::NXDomain;
    }
    asker.answer
}

struct Asker<'a> {
    catalog: &'a Catalog,
    config: &'a Config,
    domain: &'a str,
    kind: RecordType,
    seed: u64,
    room: usize,
    answer: Answer,
}

impl Asker<'_> {
    fn wants(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }

    fn push(&mut self, data: Data) {
        if self.answer.records.len() < self.room {
            self.answer.records.push(Record { ttl: self.config.ttl, data });
        } else {
            self.answer.more = true;
        }
    }

    fn address(&mut self, ip: IpAddr) -> bool {
        let kind = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        if self.wants(kind) {
            self.push(Data::of(ip));
        }
        true
    }

    fn host(&mut self, address: &str) -> bool {
        match address.parse() {
            Ok(ip) => self.address(ip),
            Err(_) => {
                self.alias(address);
                true
            }
        }
    }

    fn apex(&mut self) -> bool {
        if self.wants(RecordType::SOA) {
            self.push(Data::Soa);
        }
        if self.wants(RecordType::NS) {
            let servers = self.catalog.servers();
            for endpoint in servers.serving.iter().take(NAME_SERVERS) {
                let (target, glue) = self.target(endpoint);
                self.push(Data::Ns(target, glue));
            }
            if servers.serving.is_empty()
                && let Ok(target) = Name::from_labels(["ns"].into_iter().chain(self.labels()))
            {
                self.push(Data::Ns(target, None));
            }
        }
        true
    }

    fn node(&mut self, node: &Node) -> bool {
        self.host(&node.address);
        if self.wants(RecordType::TXT) {
            for (key, value) in &node.meta {
                self.push(Data::Txt(match key.starts_with("rfc1035-") {
                    true => value.clone(),
                    false => format!("{key}={value}"),
                }));
            }
        }
        true
    }

    /// Returns whether anything is left after the filters, whatever its type.
    fn service(&mut self, entry: &Entry, tag: Option<&str>, datacenter: Option<&str>) -> bool {
        let config = self.config;
        let mut found: Vec<&Endpoint> = entry
            .serving
            .iter()
            .filter(|endpoint| {
                let instance = &endpoint.instance;
                !(config.only_passing && endpoint.warning)
                    && in_datacenter(datacenter, &instance.datacenter)
                    && tag.is_none_or(|tag| {
                        instance.tags.iter().any(|own| own.eq_ignore_ascii_case(tag))
                    })
            })
            .collect();
        match self.kind {
            RecordType::A | RecordType::AAAA | RecordType::ANY => {
                self.addresses(&mut found, entry.distinct);
            }
            RecordType::SRV => self.locations(&mut found),
            _ => {}
        }
        !found.is_empty()
    }

    fn addresses(&mut self, found: &mut [&Endpoint], distinct: bool) {
        let mut seen = HashSet::new();
        let mut shuffle = Shuffle::new(self.seed);
        for at in 0..found.len() {
            shuffle.pick(found, at);
            let Some(ip) = found[at].ip else { continue };
            let kind = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
            if self.wants(kind) && (distinct || seen.insert(ip)) {
                self.push(Data::of(ip));
            }
            if self.answer.more {
                return;
            }
        }
        if let Some(first) = found.first()
            && found.iter().all(|endpoint| endpoint.ip.is_none())
        {
            self.alias(&first.instance.address);
        }
    }

    fn locations(&mut self, found: &mut [&Endpoint]) {
        let mut shuffle = Shuffle::new(self.seed);
        let mut seen = HashSet::new();
        let mut glued = HashSet::new();
        for at in 0..found.len() {
            shuffle.pick(found, at);
            let endpoint = found[at];
            let instance = &endpoint.instance;
            if !seen.insert((instance.node, &instance.address, instance.port)) {
                continue;
            }
            let (target, ip) = self.target(endpoint);
            let glue = ip.filter(|ip| glued.insert((target.clone(), *ip)));
            self.push(Data::Srv { port: instance.port, target, glue });
            if self.answer.more {
                return;
            }
        }
    }

    fn alias(&mut self, host: &str) {
        if matches!(self.kind, RecordType::A | RecordType::AAAA | RecordType::ANY)
            && let Ok(name) = Name::from_ascii(host)
            && !name.is_root()
        {
            self.push(Data::Cname(name));
        }
    }

    /// The name that a SRV record points to: the node where that has the address, else the address in digits. Names
    /// that DNS cannot hold give way to the digits too.
    fn target(&self, endpoint: &Endpoint) -> (Name, Option<IpAddr>) {
        let instance = &endpoint.instance;
        let below = |first: &[&str]| {
            let labels = first.iter().copied().chain([&*instance.datacenter]).chain(self.labels());
            Name::from_labels(labels.map(str::as_bytes))
        };
        let Some(ip) = endpoint.ip else {
            return (Name::from_ascii(&instance.address).unwrap_or_default(), None);
        };
        let node_labels: Vec<&str> = instance.node_name.split('.').chain(["node"]).collect();
        let by_node = (instance.address == instance.node_address).then(|| below(&node_labels));
        let target = match by_node {
            Some(Ok(name)) => name,
            _ => below(&[&digits(ip), "addr"]).unwrap_or_default(),
        };
        (target, Some(ip))
    }

    fn labels(&self) -> impl Iterator<Item = &str> {
        self.domain.split('.')
    }
}

fn in_datacenter(wanted: Option<&str>, own: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(own))
}

fn digits(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
    }
}

/// A shuffle that stops where nobody looks any more.
struct Shuffle(u64);

impl Shuffle {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Brings a random one of `all[at..]` to `at`.
    fn pick<T>(&mut self, all: &mut [T], at: usize) {
        // SplitMix64: every seed is a good one.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let left = all.len() - at;
        all.swap(at, at + (bits % left as u64) as usize);
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
