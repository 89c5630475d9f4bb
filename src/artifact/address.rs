//! Which addresses may be connected to. A job file names any host; what stands on the node itself, and what hands out
//! the node's own credentials, is not for it to ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Refused unless the operator allows them.
const REFUSED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "unspecified"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, where clouds hand out credentials"),
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("192.0.0.192/32", "a cloud's metadata service"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    ("fd00:ec2::/32", "a cloud's metadata service"),
    ("fd20:ce::254/128", "a cloud's metadata service"),
];

/// Networks that the operator allows or refuses beside what is refused by default: loopback, link-local and cloud
/// metadata, multicast, unspecified and reserved addresses. `deny` is stronger than `allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRules {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl AddressRules {
    /// Takes networks such as `10.0.0.0/8` or single addresses.
    ///
    /// # Errors
    /// The first word that is neither.
    pub fn new(allow: &[String], deny: &[String]) -> Result<Self, String> {
        for word in allow.iter().chain(deny) {
            if Network::parse(word).is_none() {
                return Err(format!(
                    "`{word}` is no network: write an address and a length, as in 10.0.0.0/8"
                ));
            }
        }
        Ok(Self { allow: allow.to_vec(), deny: deny.to_vec() })
    }

    /// Why an address must not be connected to.
    pub(crate) fn refusal(&self, address: IpAddr) -> Option<String> {
        let all = meanings(address);
        let within = |words: &[String]| {
            words
                .iter()
                .filter_map(|word| Network::parse(word))
                .any(|network| all.iter().any(|address| network.holds(*address)))
        };
        if within(&self.deny) {
            return Some(format!("{address} is refused by this node's configuration"));
        }
        if within(&self.allow) {
            return None;
        }
        REFUSED.iter().find_map(|(network, what)| {
            let network = Network::parse(network)?;
            all.iter().any(|address| network.holds(*address)).then(|| {
                format!("{address} is refused: {what}; `artifact {{ allow = [\"…\"] }}` in the agent's configuration allows it")
            })
        })
    }
}

/// An address, and the IPv4 address that it leads to when it carries one.
fn meanings(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address else { return vec![address] };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    let mut all = vec![address];
    match (a, b, c, d, e, f) {
        // Mapped, compatible, translated (NAT64), and through a relay (6to4).
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => {
            all.push(v4(g, h));
        }
        (0, 0, 0, 0, 0, 0) if g != 0 => all.push(v4(g, h)),
        (0x2002, ..) => all.push(v4(b, c)),
        _ => {}
    }
    all
}

#[derive(Clone, Copy)]
struct Network {
    bits: u128,
    length: u32,
    v6: bool,
}

impl Network {
    fn parse(word: &str) -> Option<Self> {
        let (address, length) = match word.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (word, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv6() { 128 } else { 32 };
        let length = length.unwrap_or(width);
        (length <= width).then(|| Self { bits: bits(address), length, v6: address.is_ipv6() })
    }

    fn holds(self, address: IpAddr) -> bool {
        if address.is_ipv6() != self.v6 {
            return false;
        }
        let width = if self.v6 { 128 } else { 32 };
        let shift = width - self.length;
        let cut = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
        cut(bits(address)) == cut(self.bits)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> AddressRules {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        AddressRules::new(&own(allow), &own(deny)).expect("networks")
    }

    fn refused(rules: &AddressRules, address: &str) -> bool {
        rules.refusal(address.parse().expect("an address")).is_some()
    }

    #[test]
    fn what_stands_on_the_node_or_knows_its_keys_is_refused() {
        let rules = AddressRules::default();
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(refused(&rules, address), "{address}");
        }
        for address in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "fc00::1", "1.1.1.1", "2606::1"] {
            assert!(!refused(&rules, address), "{address}");
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let rules = rules(&["127.0.0.0/8", "10.0.0.0/8"], &["10.0.0.0/8", "192.168.7.7"]);
        assert!(!refused(&rules, "127.0.0.1") && !refused(&rules, "::ffff:127.0.0.1"));
        assert!(refused(&rules, "10.1.1.1") && refused(&rules, "192.168.7.7"));
        assert!(refused(&rules, "::1"), "IPv6 is another network");
        assert!(!refused(&self::rules(&["0.0.0.0/0"], &[]), "169.254.169.254"));
        for word in ["10.0.0.0/33", "x", "10.0.0/8", "::/129", ""] {
            assert!(AddressRules::new(&[word.to_owned()], &[]).is_err(), "{word}");
        }
    }
}
