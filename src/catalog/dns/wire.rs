//! Messages: queries as bytes to a question, answers to bytes that fit.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::Config;
use super::answer::{Answer, Data, Record, answer};
use crate::view::Catalog;

const HEADER: usize = 12;
/// Records beside the question that a query may carry: there is use for one OPT and one signature.
const QUERY_RECORDS: u16 = 4;
/// The least that a record of an answer takes: a pointer to its owner, type, class, TTL, length, an IPv4 address.
const LEAST_RECORD: usize = 16;
/// The most that a message without a length limit of its own may have.
const LARGEST: usize = 65_535;
/// Pointers reach only so far into a message.
const POINTER_REACH: usize = 0x3fff;
/// What a client that says nothing of sizes can take over UDP (RFC 1035).
const UDP_PLAIN: u16 = 512;

/// Answers the message `query` into `reply`. Returns whether there is anything to send: what is no query gets no
/// answer. `udp` bounds the reply by what the client says it can take.
pub fn respond(
    catalog: &Catalog,
    config: &Config,
    query: &[u8],
    udp: bool,
    seed: u64,
    reply: &mut Vec<u8>,
) -> bool {
    reply.clear();
    let mut decoder = BinDecoder::new(query);
    let Ok(header) = Header::read(&mut decoder) else { return false };
    if header.metadata.message_type == MessageType::Response {
        return false;
    }
    let mut request = Request { header, question: &[], edns: None };
    let code = match request.read(query, &mut decoder) {
        Ok(asked) => {
            let limit = match (&request.edns, udp) {
                (_, false) => LARGEST,
                (None, true) => UDP_PLAIN.into(),
                (Some(edns), true) => {
                    edns.max_payload().min(config.udp_limit).max(UDP_PLAIN).into()
                }
            };
            let room = limit / LEAST_RECORD;
            let (name, kind) = (asked.name(), asked.query_type());
            let answer = answer(catalog, config, name, kind, seed, room);
            request.write(&answer, limit, config, reply);
            return true;
        }
        Err(code) => code,
    };
    let refusal = Answer { code, zone: None, records: Vec::new(), serial: 0, more: false };
    request.write(&refusal, UDP_PLAIN.into(), config, reply);
    true
}

struct Request<'a> {
    header: Header,
    /// The question as it came.
    question: &'a [u8],
    edns: Option<Edns>,
}

impl<'a> Request<'a> {
    fn read(
        &mut self,
        query: &'a [u8],
        decoder: &mut BinDecoder<'a>,
    ) -> Result<Query, ResponseCode> {
        let Header { metadata, counts } = self.header;
        if metadata.op_code != OpCode::Query {
            return Err(ResponseCode::NotImp);
        }
        match counts.queries {
            0 => return Err(ResponseCode::Refused),
            1 => {}
            _ => return Err(ResponseCode::FormErr),
        }
        let asked = Query::read(decoder).map_err(|_| ResponseCode::FormErr)?;
        let question = query.get(HEADER..decoder.index()).ok_or(ResponseCode::FormErr)?;
        // Pointers into the question must land on labels, so a name that is itself compressed will not do.
        if question.len() != wire_len(asked.name()) + 4 {
            return Err(ResponseCode::FormErr);
        }
        self.question = question;
        let others = [counts.answers, counts.authorities, counts.additionals];
        if others.iter().any(|count| *count > QUERY_RECORDS) {
            return Err(ResponseCode::FormErr);
        }
        for (at, count) in others.into_iter().enumerate() {
            let read = Message::read_records(decoder, count.into(), at == 2, metadata.op_code);
            let (_, edns, _) = read.map_err(|_| ResponseCode::FormErr)?;
            if edns.is_some() {
                self.edns = edns;
            }
        }
        if self.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Err(ResponseCode::BADVERS);
        }
        match asked.query_class() {
            DNSClass::IN | DNSClass::ANY => Ok(asked),
            _ => Err(ResponseCode::Refused),
        }
    }

    fn write(&self, answer: &Answer, limit: usize, config: &Config, out: &mut Vec<u8>) {
        out.resize(HEADER, 0);
        out.extend_from_slice(self.question);
        let opt = self.opt(answer.code, config);
        let room = limit - opt.len();
        let zone = answer.zone.map(|labels| HEADER + label_offset(self.question, labels));
        let mut glue = Vec::new();
        let (mut answers, mut authorities, mut additionals) = (0_u16, 0_u16, 0_u16);
        let mut cut = answer.more;
        let mut used_by_glue = 0;
        for record in &answer.records {
            let start = out.len();
            let found = put_record(out, record, zone.unwrap_or(HEADER), answer.serial);
            let more = found.as_ref().map_or(0, Glue::len);
            if out.len() + used_by_glue + more > room {
                out.truncate(start);
                cut = true;
                break;
            }
            answers += 1;
            used_by_glue += more;
            glue.extend(found);
        }
        let says_no = matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain)
            && answer.records.is_empty()
            && !cut;
        if let (true, Some(zone)) = (says_no, zone) {
            let start = out.len();
            put_soa(out, Owner::At(zone), zone, answer.serial);
            authorities = 1;
            if out.len() > room {
                out.truncate(start);
                authorities = 0;
            }
        }
        for one in &glue {
            one.put(out, config.ttl);
            additionals += 1;
        }
        if !opt.is_empty() {
            out.extend_from_slice(&opt);
            additionals += 1;
        }
        let metadata = &self.header.metadata;
        let flags = 1 << 15
            | u16::from(u8::from(metadata.op_code) & 0xf) << 11
            | u16::from(zone.is_some()) << 10
            | u16::from(cut) << 9
            | u16::from(metadata.recursion_desired) << 8
            | u16::from(metadata.checking_disabled) << 4
            | u16::from(answer.code.low());
        let questions = u16::from(!self.question.is_empty());
        let head = [metadata.id, flags, questions, answers, authorities, additionals];
        for (place, value) in out.chunks_exact_mut(2).zip(head) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// The OPT record of the reply; empty when the query had none. It repeats the client's size and subnet: the answer
    /// is the same for all subnets.
    fn opt(&self, code: ResponseCode, config: &Config) -> Vec<u8> {
        let Some(edns) = &self.edns else { return Vec::new() };
        let mut out = vec![0];
        put_u16(&mut out, RecordType::OPT.into());
        put_u16(&mut out, edns.max_payload().min(config.udp_limit).max(UDP_PLAIN));
        out.extend_from_slice(&[code.high(), 0, 0, 0]);
        let subnet = match edns.option(EdnsCode::Subnet) {
            Some(EdnsOption::Subnet(subnet)) => subnet_option(subnet),
            _ => Vec::new(),
        };
        put_u16(&mut out, subnet.len() as u16);
        out.extend_from_slice(&subnet);
        out
    }
}

/// An address for the additional section, whose owner already stands in the message.
struct Glue {
    owner: Owner,
    ip: IpAddr,
}

enum Owner {
    At(usize),
    Name(Name),
}

impl Owner {
    fn len(&self) -> usize {
        match self {
            Self::At(_) => 2,
            Self::Name(name) => wire_len(name),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::At(offset) => put_u16(out, 0xc000 | *offset as u16),
            Self::Name(name) => put_name(out, name),
        }
    }
}

impl Glue {
    fn new(offset: usize, name: &Name, ip: IpAddr) -> Self {
        let owner = match offset {
            0..=POINTER_REACH => Owner::At(offset),
            _ => Owner::Name(name.clone()),
        };
        Self { owner, ip }
    }

    fn len(&self) -> usize {
        self.owner.len() + 10 + if self.ip.is_ipv4() { 4 } else { 16 }
    }

    fn put(&self, out: &mut Vec<u8>, ttl: u32) {
        let at = start_record(out, &self.owner, kind_of(self.ip), ttl);
        put_ip(out, self.ip);
        end_record(out, at);
    }
}

fn put_record(out: &mut Vec<u8>, record: &Record, zone: usize, serial: u32) -> Option<Glue> {
    let owner = Owner::At(HEADER);
    let start = |out: &mut Vec<u8>, kind| start_record(out, &owner, kind, record.ttl);
    match &record.data {
        Data::A(ip) => {
            let at = start(out, RecordType::A);
            put_ip(out, (*ip).into());
            end_record(out, at);
        }
        Data::Aaaa(ip) => {
            let at = start(out, RecordType::AAAA);
            put_ip(out, (*ip).into());
            end_record(out, at);
        }
        Data::Cname(name) => {
            let at = start(out, RecordType::CNAME);
            put_name(out, name);
            end_record(out, at);
        }
        Data::Txt(text) => {
            let at = start(out, RecordType::TXT);
            // One string holds 255 bytes; a longer text is several.
            for part in text.as_bytes().chunks(255) {
                out.push(part.len() as u8);
                out.extend_from_slice(part);
            }
            if text.is_empty() {
                out.push(0);
            }
            end_record(out, at);
        }
        Data::Soa => put_soa(out, owner, zone, serial),
        Data::Ns(target, ip) => {
            let at = start(out, RecordType::NS);
            let offset = out.len();
            put_name(out, target);
            end_record(out, at);
            return ip.map(|ip| Glue::new(offset, target, ip));
        }
        Data::Srv { port, target, glue } => {
            let at = start(out, RecordType::SRV);
            put_u16(out, 1);
            put_u16(out, 1);
            put_u16(out, *port);
            let offset = out.len();
            put_name(out, target);
            end_record(out, at);
            return glue.map(|ip| Glue::new(offset, target, ip));
        }
    }
    None
}

/// The SOA. `zone` is where the domain's name stands. Its TTL and its minimum are 0: that something is missing must
/// not be remembered.
fn put_soa(out: &mut Vec<u8>, owner: Owner, zone: usize, serial: u32) {
    let at = start_record(out, &owner, RecordType::SOA, 0);
    for label in [&b"ns"[..], b"hostmaster"] {
        out.push(label.len() as u8);
        out.extend_from_slice(label);
        Owner::At(zone).put(out);
    }
    for value in [serial, 3600, 600, 86_400, 0] {
        out.extend_from_slice(&value.to_be_bytes());
    }
    end_record(out, at);
}

fn start_record(out: &mut Vec<u8>, owner: &Owner, kind: RecordType, ttl: u32) -> usize {
    owner.put(out);
    put_u16(out, kind.into());
    put_u16(out, DNSClass::IN.into());
    out.extend_from_slice(&ttl.to_be_bytes());
    put_u16(out, 0);
    out.len()
}

fn end_record(out: &mut [u8], at: usize) {
    let len = (out.len() - at) as u16;
    out[at - 2..at].copy_from_slice(&len.to_be_bytes());
}

fn kind_of(ip: IpAddr) -> RecordType {
    if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA }
}

fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    for label in name.iter() {
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.push(0);
}

fn wire_len(name: &Name) -> usize {
    name.iter().map(|label| label.len() + 1).sum::<usize>() + 1
}

/// Where the label after the first `count` begins in a question.
fn label_offset(question: &[u8], count: usize) -> usize {
    (0..count).fold(0, |at, _| at + 1 + question.get(at).map_or(0, |len| usize::from(*len)))
}

fn subnet_option(subnet: &ClientSubnet) -> Vec<u8> {
    let bytes = usize::from(subnet.source_prefix()).div_ceil(8);
    let (family, address) = match subnet.addr() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let address = &address[..bytes.min(address.len())];
    let mut out = Vec::with_capacity(8 + address.len());
    put_u16(&mut out, EdnsCode::Subnet.into());
    put_u16(&mut out, 4 + address.len() as u16);
    put_u16(&mut out, family);
    out.extend_from_slice(&[subnet.source_prefix(), 0]);
    out.extend_from_slice(address);
    out
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
