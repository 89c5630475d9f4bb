//! Functions over blocks of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Args, Function, MANY};
use crate::expr::cty::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("cidrhost", 2, 2, |a| {
        let (block, number) = (block(a)?, a.int(1)?);
        let hosts = block.hosts();
        let from_end = u128::from(number.unsigned_abs());
        let host = if number < 0 { hosts.checked_sub(from_end - 1) } else { Some(from_end) };
        let host = host
            .filter(|host| *host <= hosts)
            .ok_or_else(|| format!("a prefix of {} bits has no host {number}", block.prefix))?;
        Ok(Value::text(block.show(block.first | host)))
    }),
    Function("cidrnetmask", 1, 1, |a| {
        let block = block(a)?;
        Ok(Value::text(block.show(block.all() ^ block.hosts())))
    }),
    Function("cidrsubnet", 3, 3, |a| {
        let (block, number) = (block(a)?, a.size(2)?);
        let part = block.longer(a, 1, 0)?;
        let number = number as u128;
        if number >= 1 << (part.prefix - block.prefix) {
            let bits = part.prefix - block.prefix;
            return Err(format!("{bits} more bits have no subnet {number}"));
        }
        let first = block.first | number.checked_shl(part.bits - part.prefix).unwrap_or(0);
        Ok(Value::text(Block { first, ..part }.to_text()))
    }),
    Function("cidrsubnets", 1, MANY, subnets),
];

/// The addresses that share their first bits.
#[derive(Clone, Copy)]
struct Block {
    first: u128,
    /// How many bits they share.
    prefix: u32,
    /// How many an address has: 32 or 128.
    bits: u32,
}

impl Block {
    /// All bits of an address.
    const fn all(self) -> u128 {
        u128::MAX >> (128 - self.bits)
    }

    /// The bits that differ within the block.
    fn hosts(self) -> u128 {
        self.all().checked_shr(self.prefix).unwrap_or(0)
    }

    fn show(self, address: u128) -> String {
        match u32::try_from(address) {
            Ok(address) if self.bits == 32 => Ipv4Addr::from_bits(address).to_string(),
            _ => Ipv6Addr::from_bits(address).to_string(),
        }
    }

    fn to_text(self) -> String {
        format!("{}/{}", self.show(self.first), self.prefix)
    }

    /// The first block within this one whose prefix is longer by what an argument says.
    fn longer(self, a: &Args<'_>, at: usize, least: usize) -> Result<Self, String> {
        let more = a.size(at)?;
        if more < least || more > 32 {
            return Err(format!("argument {} must be {least} to 32, it is {more}", at + 1));
        }
        let prefix = self.prefix + u32::try_from(more).unwrap_or(u32::MAX);
        if prefix > self.bits {
            let (had, bits) = (self.prefix, self.bits);
            return Err(format!("{had} and {more} bits are more than the {bits} of an address"));
        }
        Ok(Self { prefix, ..self })
    }
}

fn block(a: &Args<'_>) -> Result<Block, String> {
    let text = a.text(0)?;
    let read = || {
        let (address, prefix) = text.split_once('/')?;
        let (first, bits) = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| digits && *prefix <= bits)?;
        let whole = Block { first, prefix, bits };
        Some(Block { first: first & !whole.hosts(), ..whole })
    };
    read().ok_or_else(|| format!("`{text}` is not a block of addresses such as 10.0.0.0/8"))
}

/// Blocks of different sizes one behind the other, each at the next place where its size fits.
fn subnets(a: &Args<'_>) -> Result<Value, String> {
    let whole = block(a)?;
    let last = whole.first | whole.hosts();
    // Nothing once the last address there is has been given away.
    let mut next = Some(whole.first);
    let mut out = Vec::new();
    for at in 1..a.len() {
        let part = whole.longer(a, at, 1)?;
        let hosts = part.hosts();
        let first = next
            .and_then(|next| next.checked_add(hosts))
            .map(|next| next & !hosts)
            .filter(|first| *first <= last)
            .ok_or_else(|| format!("there is no room for argument {}", at + 1))?;
        out.push(Block { first, ..part }.to_text());
        next = (first | hosts).checked_add(1);
    }
    Ok(Value::texts(out))
}
