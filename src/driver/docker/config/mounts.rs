//! The volumes and mounts that a file asks for.

use std::collections::BTreeMap;

use crate::docker::{DockerOptions, Engine};
use crate::settings::Settings;

/// Where a mount takes its files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::docker) enum Source {
    /// A path of the node, or one relative to the task's directory.
    Path(String),
    /// A volume of the daemon; one without a name when empty.
    Volume {
        name: String,
        driver: Option<VolumeDriver>,
        no_copy: bool,
        labels: BTreeMap<String, String>,
    },
    /// Memory, with a size in bytes and a mode, 0 for the defaults.
    Memory { size: i64, mode: i64 },
}

/// What makes a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::docker) struct VolumeDriver {
    pub(in crate::docker) name: String,
    pub(in crate::docker) options: BTreeMap<String, String>,
}

/// A mount that the file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::docker) struct Mounted {
    pub(in crate::docker) source: Source,
    pub(in crate::docker) target: String,
    pub(in crate::docker) read_only: bool,
    /// As the kernel names it: `rslave`, `private`, …
    pub(in crate::docker) propagation: Option<String>,
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

pub(super) fn mounts(s: &mut Settings<'_>, options: &DockerOptions) -> Vec<Mounted> {
    let driver = s.text("volume_driver").filter(|name| !name.is_empty());
    let mut mounts = Vec::new();
    for volume in s.list("volumes") {
        match volume_line(&volume, driver.as_deref()) {
            Some(mount) => mounts.push(mount),
            None => s.problem(format!(
                "`volumes`: `{volume}` is not `source:target`, `source:target:ro` or \
                 `source:target:rw` with an absolute target"
            )),
        }
    }
    let tmpfs = if options.engine == Engine::Podman { s.list("tmpfs") } else { Vec::new() };
    for line in tmpfs {
        let target = line.split(':').next().unwrap_or_default().to_owned();
        if !target.starts_with('/') {
            s.problem(format!("`tmpfs`: `{line}` is not an absolute path"));
        }
        let source = Source::Memory { size: 0, mode: 0 };
        mounts.push(Mounted { source, target, read_only: false, propagation: None });
    }
    for key in ["mount", "mounts"] {
        for block in s.blocks(key) {
            let mut inner = Settings::new(&block);
            let mount = mount_block(&mut inner);
            s.nested(key, inner.finish());
            mounts.extend(mount);
        }
    }
    for mount in &mounts {
        allowed(s, mount, options);
    }
    mounts
}

fn allowed(s: &mut Settings<'_>, mount: &Mounted, options: &DockerOptions) {
    let is_shared = mount.propagation.as_deref().is_some_and(|word| word.ends_with("shared"));
    if is_shared && !options.allow_privileged {
        s.problem(format!(
            "the mount at {} cannot be shared both ways: it is not allowed on this node",
            mount.target
        ));
    }
    if options.volumes_enabled {
        return;
    }
    match &mount.source {
        Source::Path(path) if path.starts_with('/') => s.problem(format!(
            "the path {path} of the node cannot be mounted: volumes are not enabled on this node"
        )),
        Source::Volume { name, .. } => s.problem(format!(
            "the volume `{name}` cannot be mounted: volumes are not enabled on this node"
        )),
        Source::Path(_) | Source::Memory { .. } => {}
    }
}

fn volume_line(line: &str, driver: Option<&str>) -> Option<Mounted> {
    let mut parts = line.split(':');
    let (source, target) = (parts.next()?, parts.next()?);
    let (mut read_only, mut propagation) = (false, None);
    for option in parts.next().into_iter().flat_map(|options| options.split(',')) {
        match option {
            "rw" => {}
            "ro" => read_only = true,
            other if PROPAGATIONS.contains(&other) => propagation = Some(other.to_owned()),
            _ => return None,
        }
    }
    if parts.next().is_some() || source.is_empty() || !target.starts_with('/') {
        return None;
    }
    let source = match driver {
        // A driver of volumes makes a name of what would be a relative path.
        Some(driver) if !source.starts_with('/') => Source::Volume {
            name: source.to_owned(),
            driver: Some(VolumeDriver { name: driver.to_owned(), ..VolumeDriver::default() }),
            no_copy: false,
            labels: BTreeMap::new(),
        },
        _ => Source::Path(source.to_owned()),
    };
    Some(Mounted { source, target: target.to_owned(), read_only, propagation })
}

fn mount_block(inner: &mut Settings<'_>) -> Option<Mounted> {
    let kind = inner.text("type").unwrap_or_else(|| "volume".to_owned());
    let source = inner.text("source").unwrap_or_default();
    let target = inner.required("target");
    let read_only = inner.flag("readonly").unwrap_or(false);
    let mut memory = (0, 0);
    for block in inner.blocks("tmpfs_options") {
        let mut tmpfs = Settings::new(&block);
        memory = (tmpfs.integer("size").unwrap_or(0), tmpfs.integer("mode").unwrap_or(0));
        inner.nested("tmpfs_options", tmpfs.finish());
    }
    let mut propagation = None;
    for block in inner.blocks("bind_options") {
        let mut bind = Settings::new(&block);
        propagation = bind.text("propagation").filter(|word| !word.is_empty());
        if propagation.as_ref().is_some_and(|word| !PROPAGATIONS.contains(&word.as_str())) {
            bind.problem(format!("`propagation` must be one of {}", PROPAGATIONS.join(", ")));
        }
        inner.nested("bind_options", bind.finish());
    }
    let (mut driver, mut no_copy, mut labels) = (None, false, BTreeMap::new());
    for block in inner.blocks("volume_options") {
        let mut volume = Settings::new(&block);
        no_copy = volume.flag("no_copy").unwrap_or(false);
        labels = volume.map("labels");
        for block in volume.blocks("driver_config") {
            let mut config = Settings::new(&block);
            let name = config.text("name").unwrap_or_default();
            driver = Some(VolumeDriver { name, options: config.map("options") });
            volume.nested("driver_config", config.finish());
        }
        inner.nested("volume_options", volume.finish());
    }
    let source = match kind.as_str() {
        "bind" => Source::Path(source),
        "volume" => Source::Volume { name: source, driver, no_copy, labels },
        "tmpfs" => Source::Memory { size: memory.0, mode: memory.1 },
        other => {
            inner.problem(format!("`type` must be bind, volume or tmpfs, not `{other}`"));
            return None;
        }
    };
    if matches!(&source, Source::Path(path) if path.is_empty()) {
        inner.problem("`source` is missing");
    }
    if !target.starts_with('/') {
        inner.problem("`target` must be absolute");
    }
    Some(Mounted { source, target, read_only, propagation })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value, options: &DockerOptions) -> (Vec<Mounted>, Vec<String>) {
        let values = serde_json::from_value(value).expect("a map");
        let mut settings = Settings::new(&values);
        let mounts = mounts(&mut settings, options);
        (mounts, settings.finish())
    }

    #[test]
    fn the_node_decides_over_its_paths_and_volumes() {
        for (value, count) in [
            (json!({"volumes": ["/etc:/host"]}), 1),
            (json!({"mount": {"source": "v", "target": "/v"}}), 1),
            (json!({"mount": {"type": "bind", "source": "/etc", "target": "/v"}}), 1),
            (json!({"volumes": ["data:/v"], "volume_driver": "local"}), 1),
            (json!({"volumes": ["data:/v"]}), 0),
        ] {
            let problems = read(value.clone(), &DockerOptions::new("i")).1;
            assert_eq!(problems.len(), count, "{value}: {problems:?}");
            let open = DockerOptions { volumes_enabled: true, ..DockerOptions::new("i") };
            assert_eq!(read(value.clone(), &open).1, Vec::<String>::new(), "{value}");
        }
        let shared = json!({"volumes": ["data:/v:ro,rshared"]});
        assert_eq!(read(shared, &DockerOptions::new("i")).1.len(), 1);
    }

    #[test]
    fn options_of_mounts_are_read() {
        let open = DockerOptions { volumes_enabled: true, ..DockerOptions::new("i") };
        let (mounts, problems) = read(
            json!({"mounts": [{
                "type": "volume", "source": "v", "target": "/v",
                "volume_options": {"no_copy": true, "driver_config": {
                    "name": "local", "options": [{"type": "tmpfs"}],
                }},
            }, {"type": "bind", "source": "a", "target": "/a", "bind_options": {"propagation": "rslave"}}]}),
            &open,
        );
        assert_eq!(problems, Vec::<String>::new());
        let Source::Volume { driver: Some(driver), no_copy: true, .. } = &mounts[0].source else {
            panic!("a volume: {mounts:?}");
        };
        assert_eq!((driver.name.as_str(), driver.options["type"].as_str()), ("local", "tmpfs"));
        assert_eq!(mounts[1].propagation.as_deref(), Some("rslave"));
    }
}
