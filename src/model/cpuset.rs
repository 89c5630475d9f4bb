//! Numbers of cores as text: `0-1,3`, as the kernel and Nomad write them.

use std::collections::BTreeSet;

/// Reads a list of cores. Empty text is no cores.
///
/// # Errors
/// In words, when it is no such list.
pub fn parse_cpuset(text: &str) -> Result<BTreeSet<u16>, String> {
    let mut cores = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => cores.extend(first..=last),
            _ => return Err(format!("`{part}` is not a core or a range of cores such as 0-3")),
        }
    }
    Ok(cores)
}

/// Writes a list of cores in order; neighbours are a range.
pub fn format_cpuset(cores: impl IntoIterator<Item = u16>) -> String {
    let cores: BTreeSet<u16> = cores.into_iter().collect();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for core in cores {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(core) => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let written = ranges.into_iter().map(|(first, last)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    });
    written.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for (text, cores, written) in [
            ("", vec![], ""),
            ("3", vec![3], "3"),
            ("0-2,7", vec![0, 1, 2, 7], "0-2,7"),
            (" 5 , 4, 1-1 ", vec![1, 4, 5], "1,4-5"),
            ("65534-65535", vec![65_534, 65_535], "65534-65535"),
        ] {
            let found = parse_cpuset(text).expect(text);
            assert!(found.iter().copied().eq(cores), "{text}: {found:?}");
            assert_eq!(format_cpuset(found), written);
        }
        for wrong in ["a", "3-1", "-1", "1-", "1-2-3", "70000"] {
            assert!(parse_cpuset(wrong).is_err(), "{wrong}");
        }
    }
}
