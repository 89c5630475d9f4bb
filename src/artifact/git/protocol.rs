//! Git's wire protocol, as far as fetching one commit needs it.

use std::io::{self, Read};

use git2::Oid;

use crate::FetchError;
use crate::failure::shown;

/// Most bytes of a list of references.
pub(super) const MAX_ADVERTISEMENT: u64 = 64 << 20;
/// Most references.
const MAX_REFERENCES: usize = 500_000;
/// Most branches that an error names, and most tips that are asked for at once.
const MAX_NAMED: usize = 10;
const MAX_WANTED: usize = 10_000;

/// A line with its length before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Flush,
    Data(Vec<u8>),
}

impl Packet {
    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length =
            std::str::from_utf8(&length).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        match length {
            Some(0) => Ok(Self::Flush),
            Some(length @ 4..) => {
                let mut data = vec![0; length - 4];
                input.read_exact(&mut data)?;
                Ok(Self::Data(data))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this is not Git's protocol")),
        }
    }
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// What a repository has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Advertisement {
    references: Vec<(String, Oid)>,
    capabilities: Vec<String>,
}

impl Advertisement {
    /// Reads it; over HTTP a line comes first that names the service.
    pub(super) fn read(input: &mut impl Read, over_http: bool) -> Result<Self, FetchError> {
        let broken = |error: io::Error| {
            FetchError::failed(format!("the repository's answer cannot be read: {error}"))
        };
        if over_http {
            while Packet::read(input).map_err(broken)? != Packet::Flush {}
        }
        let mut all = Self::default();
        while let Packet::Data(data) = Packet::read(input).map_err(broken)? {
            if data.starts_with(b"ERR ") {
                return Err(FetchError::failed(format!("the repository says: {}", shown(&data))));
            }
            let (reference, capabilities) = match data.iter().position(|byte| *byte == 0) {
                Some(at) => data.split_at(at),
                None => (data.as_slice(), &b""[..]),
            };
            if !capabilities.is_empty() {
                let text = String::from_utf8_lossy(capabilities);
                all.capabilities =
                    text.trim_start_matches('\0').split_whitespace().map(str::to_owned).collect();
            }
            let text = String::from_utf8_lossy(reference);
            if let Some((oid, name)) = text.trim_end().split_once(' ')
                && let Ok(oid) = Oid::from_str(oid)
                && !oid.is_zero()
            {
                all.references.push((name.to_owned(), oid));
            }
            if all.references.len() > MAX_REFERENCES {
                return Err(FetchError::refused(format!(
                    "the repository has more than {MAX_REFERENCES} references"
                )));
            }
        }
        Ok(all)
    }

    fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    fn named(&self, name: &str) -> Option<Oid> {
        self.references.iter().find(|(known, _)| known == name).map(|(_, oid)| *oid)
    }

    /// The commit that a `ref` means: a branch, a tag, a whole name or an ID; HEAD without one.
    fn wanted(&self, reference: Option<&str>) -> Result<Oid, FetchError> {
        let Some(reference) = reference else {
            return self.named("HEAD").ok_or_else(|| FetchError::failed("the repository is empty"));
        };
        let names = [
            format!("refs/heads/{reference}"),
            format!("refs/tags/{reference}"),
            reference.to_owned(),
        ];
        if let Some(oid) = names.iter().find_map(|name| self.named(name)) {
            return Ok(oid);
        }
        if reference.len() == 40
            && let Ok(oid) = Oid::from_str(reference)
        {
            return Ok(oid);
        }
        let heads = self.references.iter().filter_map(|(name, _)| name.strip_prefix("refs/heads/"));
        let some: Vec<_> = heads.take(MAX_NAMED).map(|name| shown(name.as_bytes())).collect();
        Err(FetchError::failed(format!(
            "the repository has no branch, tag or whole commit ID `{}`; its branches are {}",
            shown(reference.as_bytes()),
            some.join(", ")
        )))
    }
}

/// The commit, and what is sent to have it: without its history where the server can.
pub(super) fn request(
    advertised: &Advertisement,
    reference: Option<&str>,
) -> Result<(Oid, Vec<u8>), FetchError> {
    let oid = advertised.wanted(reference)?;
    let is_tip = advertised.references.iter().any(|(_, tip)| *tip == oid);
    let by_id =
        advertised.can("allow-reachable-sha1-in-want") || advertised.can("allow-any-sha1-in-want");
    let alone = is_tip || by_id;
    let wants: Vec<Oid> = if alone {
        vec![oid]
    } else {
        // It may be in the history of any of them.
        let mut tips: Vec<_> = advertised
            .references
            .iter()
            .filter(|(name, _)| !name.ends_with("^{}"))
            .map(|(_, oid)| *oid)
            .collect();
        tips.sort_unstable();
        tips.dedup();
        tips.truncate(MAX_WANTED);
        tips
    };
    if !advertised.can("side-band-64k") {
        return Err(FetchError::refused(
            "the repository's server is too old: it lacks side-band-64k",
        ));
    }
    let mut capabilities = vec!["side-band-64k"];
    capabilities.extend(["ofs-delta", "no-progress"].iter().filter(|name| advertised.can(name)));
    let mut text = String::new();
    for (number, want) in wants.iter().enumerate() {
        let more = if number == 0 { format!(" {}", capabilities.join(" ")) } else { String::new() };
        text.push_str(&line(&format!("want {want}{more}\n")));
    }
    if alone && advertised.can("shallow") {
        text.push_str(&line("deepen 1\n"));
    }
    text.push_str("0000");
    text.push_str(&line("done\n"));
    Ok((oid, text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(capabilities: &str) -> Advertisement {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let text = [
            line("# service=git-upload-pack\n"),
            "0000".to_owned(),
            line(&format!("{a} HEAD\0{capabilities}\n")),
            line(&format!("{a} refs/heads/main\n")),
            line(&format!("{b} refs/tags/v1\n")),
            "0000".to_owned(),
        ];
        Advertisement::read(&mut text.concat().as_bytes(), true).expect("reads")
    }

    #[test]
    fn names_lead_to_commits() {
        let all = advertised("side-band-64k shallow");
        let oid = |digit: &str| Oid::from_str(&digit.repeat(40)).expect("an ID");
        assert_eq!(all.wanted(None), Ok(oid("a")));
        assert_eq!(all.wanted(Some("v1")), Ok(oid("b")));
        assert_eq!(all.wanted(Some(&"c".repeat(40))), Ok(oid("c")));
        let error = all.wanted(Some("nope")).expect_err("absent");
        assert!(error.message.contains("its branches are main"), "{error}");
    }

    #[test]
    fn only_what_is_needed_is_asked_for() {
        let (_, request) =
            request(&advertised("side-band-64k shallow ofs-delta"), None).expect("asks");
        let text = String::from_utf8(request).expect("text");
        assert_eq!(
            text,
            format!(
                "004awant {} side-band-64k ofs-delta\n000ddeepen 1\n00000009done\n",
                "a".repeat(40)
            )
        );
        let old = advertised("side-band-64k shallow");
        let (_, all) = super::request(&old, Some(&"c".repeat(40))).expect("asks");
        let text = String::from_utf8(all).expect("text");
        assert!(text.matches("want").count() == 2 && !text.contains("deepen"), "{text}");
        assert!(super::request(&advertised("x"), None).is_err());
    }

    #[test]
    fn nonsense_is_no_packet() {
        assert!(Packet::read(&mut &b"zzzz"[..]).is_err());
        assert!(Packet::read(&mut &b"0003"[..]).is_err());
        assert!(Packet::read(&mut &b"0010short"[..]).is_err());
        assert_eq!(Packet::read(&mut &b"0000"[..]).expect("a flush"), Packet::Flush);
    }
}
