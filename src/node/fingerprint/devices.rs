//! Devices that tasks can be given: those that the configuration names, and NVIDIA's GPUs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use model::{DeviceInstance, NodeDevice};

/// The most devices of one make that are taken.
const MOST: usize = 256;

/// The longest file of a driver that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Where NVIDIA's driver tells of its GPUs.
const NVIDIA: &str = "/proc/driver/nvidia/gpus";

/// Devices of one make, as the configuration names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSettings {
    /// Who makes it.
    pub vendor: String,
    /// What it is.
    pub kind: String,
    /// The model.
    pub name: String,
    /// Files beneath `/dev`; parts of the path may hold `*` and `?`.
    pub paths: Vec<String>,
    /// What job files may ask for.
    pub attributes: BTreeMap<String, String>,
}

/// Looks for the node's devices. What is not there is left out. Reads a few directories.
pub fn find_devices(settings: &[DeviceSettings]) -> Vec<NodeDevice> {
    let mut found: Vec<NodeDevice> = settings.iter().map(configured).collect();
    found.extend(nvidia(Path::new(NVIDIA)));
    found.retain(|device| !device.instances.is_empty());
    found
}

fn configured(settings: &DeviceSettings) -> NodeDevice {
    let mut paths: Vec<PathBuf> =
        settings.paths.iter().flat_map(|pattern| matching(pattern)).collect();
    paths.sort();
    paths.dedup();
    paths.truncate(MOST);
    let instance = |path: &PathBuf| {
        let path = path.to_str()?.to_owned();
        Some(DeviceInstance { id: path.clone(), healthy: true, path })
    };
    NodeDevice {
        vendor: settings.vendor.clone(),
        kind: settings.kind.clone(),
        name: settings.name.clone(),
        attributes: settings.attributes.clone(),
        instances: paths.iter().filter_map(instance).collect(),
    }
}

/// The devices beneath `/dev` whose paths match. Links are devices where they lead to one.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some(below) = pattern.strip_prefix("/dev/") else { return Vec::new() };
    let mut found = vec![PathBuf::from("/dev")];
    for part in below.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Vec::new();
        }
        let plain = !part.contains(['*', '?']);
        found = found
            .into_iter()
            .flat_map(|dir| if plain { vec![dir.join(part)] } else { entries(&dir, part) })
            .take(MOST * 16)
            .collect();
    }
    found.retain(|path| is_device(path));
    found
}

fn entries(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let fits = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| is_match(pattern.as_bytes(), name.as_bytes()))
    };
    entries.take(MOST * 64).filter_map(Result::ok).filter(fits).map(|entry| entry.path()).collect()
}

/// Whether a name matches a pattern in which `*` is any text and `?` any byte.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(one) if *one == b'?' || one == byte => {
                at += 1;
                seen += 1;
            }
            // The last star takes one byte more.
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|one| *one == b'*')
}

fn is_device(path: &Path) -> bool {
    let Ok(real) = fs::canonicalize(path) else { return false };
    let kind = fs::metadata(&real).map(|meta| meta.file_type());
    real.starts_with("/dev")
        && kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
}

/// NVIDIA's GPUs, by model. Nothing where its driver is not loaded.
fn nvidia(dir: &Path) -> Vec<NodeDevice> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut models: BTreeMap<String, Vec<DeviceInstance>> = BTreeMap::new();
    for entry in entries.take(MOST).filter_map(Result::ok) {
        let Ok(file) = fs::File::open(entry.path().join("information")) else { continue };
        let mut text = String::new();
        if file.take(LONGEST).read_to_string(&mut text).is_err() {
            continue;
        }
        if let Some((model, instance)) = gpu(&text) {
            models.entry(model).or_default().push(instance);
        }
    }
    let make = |(name, mut instances): (String, Vec<DeviceInstance>)| {
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        NodeDevice {
            vendor: "nvidia".into(),
            kind: "gpu".into(),
            name,
            attributes: BTreeMap::new(),
            instances,
        }
    };
    models.into_iter().map(make).collect()
}

/// One GPU, as its driver describes it.
fn gpu(text: &str) -> Option<(String, DeviceInstance)> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
    };
    // Who may not see it is told question marks.
    let id = value("GPU UUID").filter(|id| id.starts_with("GPU-") && !id.contains('?'))?;
    let minor: u32 = value("Device Minor")?.parse().ok()?;
    let path = format!("/dev/nvidia{minor}");
    Some((value("Model")?, DeviceInstance { id, healthy: true, path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, fits) in [
            ("tty*", "ttyUSB0", true),
            ("tty*", "tty", true),
            ("*", "", true),
            ("video?", "video1", true),
            ("video?", "video", false),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxac", false),
            ("null", "null", true),
            ("null", "nul", false),
            ("nul", "null", false),
            ("", "x", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
        // Many stars cost no more than the product of both lengths.
        assert!(!is_match(&b"*a".repeat(200), &b"a".repeat(199)));
    }

    #[test]
    fn configured_devices_are_those_that_are_there() {
        let find = |paths: &[&str]| {
            let settings = DeviceSettings {
                vendor: "acme".into(),
                kind: "sink".into(),
                name: "one".into(),
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
                ..DeviceSettings::default()
            };
            let found = find_devices(&[settings]);
            let ours = found.into_iter().filter(|device| device.vendor == "acme");
            ours.flat_map(|device| device.instances).map(|one| one.id).collect::<Vec<_>>()
        };
        assert_eq!(find(&["/dev/zero", "/dev/fu?l", "/dev/zero"]), ["/dev/full", "/dev/zero"]);
        for nothing in ["/dev/no-such-device", "/dev/../etc/passwd", "/etc/passwd", "/dev", "/dev/"]
        {
            assert!(find(&[nothing]).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn gpus_are_read_as_the_driver_writes_them() {
        let text = "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 42\n\
                    GPU UUID: \t GPU-1ab2c3d4-0000-1111-2222-333344445555\nVideo BIOS: \t 92.00\n\
                    Bus Location: \t 0000:07:00.0\nDevice Minor: \t 3\n";
        let dir = tempfile::tempdir().expect("a directory");
        for (pci, text) in [
            ("0000:07:00.0", text),
            ("0000:08:00.0", &text.replace("GPU-1ab2c3d4", "GPU-0ab2c3d4").replace(" 3\n", " 4\n")),
            ("0000:09:00.0", "GPU UUID: GPU-????????-????\nModel: X\nDevice Minor: 0\n"),
            ("0000:0a:00.0", "nonsense"),
        ] {
            fs::create_dir(dir.path().join(pci)).expect("made");
            fs::write(dir.path().join(pci).join("information"), text).expect("written");
        }
        let found = nvidia(dir.path());
        let [device] = &found[..] else { panic!("{found:?}") };
        assert_eq!(device.name, "NVIDIA A100-SXM4-40GB");
        let instances: Vec<_> =
            device.instances.iter().map(|one| (one.id.get(..12), one.path.as_str())).collect();
        assert_eq!(
            instances,
            [(Some("GPU-0ab2c3d4"), "/dev/nvidia4"), (Some("GPU-1ab2c3d4"), "/dev/nvidia3")]
        );
        assert!(nvidia(Path::new("/no/such/place")).is_empty());
    }
}
