//! What a name asks for. Labels are read from the right; case does not matter.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

/// What a name under one of our domains asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// The domain itself.
    Apex,
    /// `ns.<domain>`, which the SOA names.
    NameServer,
    /// A name with others below it and nothing of its own, such as `service.<domain>`.
    Empty,
    /// Instances of a service.
    Service { name: Cow<'a, str>, tag: Option<Cow<'a, str>>, datacenter: Option<&'a str> },
    /// A node.
    Node { name: Cow<'a, str>, datacenter: Option<&'a str> },
    /// An address spelled in hexadecimal digits.
    Address(IpAddr),
    /// Nothing that there could be.
    Nothing,
}

/// The name in lower case, its labels joined by dots. A label that cannot be part of any name we know is replaced by
/// one that matches nothing.
pub(super) fn lower(name: &Name) -> String {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        if label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
            text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        } else {
            text.push('\0');
        }
    }
    text
}

/// Splits a lower-case name at the longest of `domains` that it is under: what stands before it, and the domain.
pub(super) fn split<'a, 'd>(text: &'a str, domains: &'d [String]) -> Option<(&'a str, &'d str)> {
    domains
        .iter()
        .filter_map(|domain| {
            let rest = text.len().checked_sub(domain.len())?;
            let (before, suffix) = text.split_at_checked(rest)?;
            if domain.is_empty() || !suffix.eq_ignore_ascii_case(domain) {
                return None;
            }
            match before.strip_suffix('.') {
                Some(before) => Some((before, domain.as_str())),
                None => before.is_empty().then_some(("", domain.as_str())),
            }
        })
        .max_by_key(|(_, domain)| domain.len())
}

/// Reads what stands before the domain.
pub(super) fn read(before: &str) -> Asked<'_> {
    if before.is_empty() {
        return Asked::Apex;
    }
    let labels: Vec<&str> = before.split('.').collect();
    let (what, kind, datacenter) = match labels.as_slice() {
        [what @ .., kind] if is_kind(kind) => (what, *kind, None),
        [what @ .., kind, datacenter] if is_kind(kind) => (what, *kind, Some(*datacenter)),
        [what @ .., kind, datacenter, "dc"] if is_kind(kind) => (what, *kind, Some(*datacenter)),
        // The RFC 2782 form may leave `service` out.
        [name, tag] if is_rfc2782(name, tag) => (&labels[..], "service", None),
        [name, tag, datacenter] if is_rfc2782(name, tag) => {
            (&labels[..2], "service", Some(*datacenter))
        }
        ["ns"] => return Asked::NameServer,
        _ => return Asked::Nothing,
    };
    match (kind, what) {
        (_, []) => Asked::Empty,
        ("service", [name, tag]) if is_rfc2782(name, tag) => {
            let tag = Some(&tag[1..]).filter(|tag| *tag != "tcp");
            Asked::Service {
                name: Cow::Borrowed(&name[1..]),
                tag: tag.map(Cow::Borrowed),
                datacenter,
            }
        }
        ("service", [tag @ .., name]) => Asked::Service {
            name: Cow::Borrowed(name),
            tag: (!tag.is_empty()).then(|| joined(tag)),
            datacenter,
        },
        ("node", name) => Asked::Node { name: joined(name), datacenter },
        ("addr", [digits]) => address(digits).map_or(Asked::Nothing, Asked::Address),
        _ => Asked::Nothing,
    }
}

fn is_kind(label: &str) -> bool {
    matches!(label, "service" | "node" | "addr")
}

fn is_rfc2782(name: &str, tag: &str) -> bool {
    name.len() > 1 && tag.len() > 1 && name.starts_with('_') && tag.starts_with('_')
}

fn joined<'a>(labels: &[&'a str]) -> Cow<'a, str> {
    match labels {
        [one] => Cow::Borrowed(one),
        many => Cow::Owned(many.join(".")),
    }
}

fn address(digits: &str) -> Option<IpAddr> {
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    match digits.len() {
        8 => Some(Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?).into()),
        32 => Some(Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service<'a>(name: &'a str, tag: Option<&'a str>, datacenter: Option<&'a str>) -> Asked<'a> {
        Asked::Service { name: name.into(), tag: tag.map(Into::into), datacenter }
    }

    #[test]
    fn forms() {
        let node = |name: &'static str, datacenter| Asked::Node { name: name.into(), datacenter };
        for (text, wanted) in [
            ("", Asked::Apex),
            ("ns", Asked::NameServer),
            ("service", Asked::Empty),
            ("web.service", service("web", None, None)),
            ("v1.web.service", service("web", Some("v1"), None)),
            ("a.b.web.service", service("web", Some("a.b"), None)),
            ("web.service.dc1", service("web", None, Some("dc1"))),
            ("v1.web.service.dc1.dc", service("web", Some("v1"), Some("dc1"))),
            ("_web._tcp.service", service("web", None, None)),
            ("_web._v1.service", service("web", Some("v1"), None)),
            ("_web._udp.service.dc1", service("web", Some("udp"), Some("dc1"))),
            ("_web._tcp", service("web", None, None)),
            ("_web._tcp.dc1", service("web", None, Some("dc1"))),
            ("n1.node", node("n1", None)),
            ("n1.example.com.node.dc1", node("n1.example.com", Some("dc1"))),
            ("0a000001.addr.dc1", Asked::Address(Ipv4Addr::new(10, 0, 0, 1).into())),
            ("0a00000.addr", Asked::Nothing),
            ("+a000001.addr", Asked::Nothing),
            ("web", Asked::Nothing),
            ("web.service.dc1.dc2.dc3", Asked::Nothing),
            ("q.query", Asked::Nothing),
            ("_.service", service("_", None, None)),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
        let v6 = "20010db8000000000000000000000001.addr";
        assert_eq!(read(v6), Asked::Address("2001:db8::1".parse().expect("an address")));
    }

    #[test]
    fn the_longest_domain_wins() {
        let domains = ["consul".to_owned(), "dev.Consul".to_owned()];
        assert_eq!(split("web.service.consul", &domains), Some(("web.service", "consul")));
        assert_eq!(split("x.dev.consul", &domains), Some(("x", "dev.Consul")));
        assert_eq!(split("consul", &domains), Some(("", "consul")));
        assert_eq!(split("notconsul", &domains), None);
        assert_eq!(split("", &domains), None);
    }

    #[test]
    fn odd_labels_match_nothing() {
        let name = Name::from_labels([&b"a.b"[..], b"WEB", b"\xff"]).expect("a name");
        assert_eq!(lower(&name), "\0.web.\0");
    }
}
