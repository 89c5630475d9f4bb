//! Understands the texts that Linux describes a machine with.

/// What `/proc/cpuinfo` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    /// Logical cores; at least one.
    pub cores: u64,
    /// The fastest core's present frequency, where it is said.
    pub mhz: Option<u64>,
    /// The model; empty where it is not said.
    pub model: String,
}

pub(super) fn cpu(cpuinfo: &str) -> Cpu {
    let mut cpu = Cpu::default();
    for (key, value) in fields(cpuinfo, ':') {
        match key {
            "processor" => cpu.cores += 1,
            "cpu MHz" => {
                let mhz = value.split('.').next().and_then(|whole| whole.parse().ok());
                cpu.mhz = cpu.mhz.max(mhz);
            }
            "model name" | "Model" if cpu.model.is_empty() => value.clone_into(&mut cpu.model),
            _ => {}
        }
    }
    cpu.cores = cpu.cores.max(1);
    cpu
}

pub(super) fn memory_bytes(meminfo: &str) -> u64 {
    fields(meminfo, ':')
        .find(|(key, _)| *key == "MemTotal")
        .and_then(|(_, value)| value.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes.saturating_mul(1024))
}

/// What `/etc/os-release` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Os {
    /// Such as `debian`.
    pub name: String,
    /// Such as `12`.
    pub version: String,
}

pub(super) fn os_release(text: &str) -> Os {
    let mut os = Os::default();
    for (key, value) in fields(text, '=') {
        let value = value.trim_matches(['"', '\'']).to_owned();
        match key {
            "ID" => os.name = value,
            "VERSION_ID" => os.version = value,
            _ => {}
        }
    }
    os
}

/// The names that job files use for architectures are Go's.
pub(super) fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn fields(text: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(move |line| line.split_once(separator))
        .map(|(key, value)| (key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cpuinfo() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 2.00GHz\ncpu MHz\t\t: 1999.998\n\n\
                    processor\t: 1\nmodel name\t: A CPU @ 2.00GHz\ncpu MHz\t\t: 2300.1\n";
        let expected = Cpu { cores: 2, mhz: Some(2300), model: "A CPU @ 2.00GHz".into() };
        assert_eq!(cpu(text), expected);
        // Arm says no frequency.
        let text = "processor\t: 0\nBogoMIPS\t: 48.00\n";
        assert_eq!(cpu(text), Cpu { cores: 1, mhz: None, model: String::new() });
        assert_eq!(cpu("").cores, 1);
    }

    #[test]
    fn reads_meminfo_and_os_release() {
        assert_eq!(memory_bytes("MemTotal:       16384 kB\nMemFree: 1 kB\n"), 16384 * 1024);
        assert_eq!(memory_bytes("nonsense"), 0);
        let os = os_release("NAME=\"Some OS\"\nID=some\nVERSION_ID=\"12\"\n");
        assert_eq!(os, Os { name: "some".into(), version: "12".into() });
    }

    #[test]
    fn architectures_have_gos_names() {
        assert_eq!(go_arch("x86_64"), "amd64");
        assert_eq!(go_arch("aarch64"), "arm64");
        assert_eq!(go_arch("riscv64"), "riscv64");
    }
}
