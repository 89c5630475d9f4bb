//! Volumes that nodes offer: which nodes have what a group asks for, and who writes to them.

use std::collections::BTreeMap;

use model::{Group, Node, VolumeRequest};

/// The host volumes that a group asks for. Others are not placed by.
pub(crate) fn of_host(group: &Group) -> impl Iterator<Item = &VolumeRequest> {
    group.volumes.values().filter(|volume| volume.kind == "host")
}

/// Whether a node has the volume for an allocation of this index, as it is asked for.
pub(crate) fn offered(volume: &VolumeRequest, index: u32, node: &Node) -> Result<(), String> {
    let source = volume.source_of(index);
    match node.host_volumes.get(&*source) {
        None => Err(format!("missing host volume {source}")),
        Some(offer) if offer.read_only && volume.writes() => {
            Err(format!("host volume {source} is read-only"))
        }
        Some(_) => Ok(()),
    }
}

/// Who writes to the volumes of one node. Whoever only reads is not counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writers(BTreeMap<String, Count>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u32,
    /// Of these, how many bear no other.
    alone: u32,
}

impl Writers {
    pub(crate) fn enter<'v>(
        &mut self,
        volumes: impl IntoIterator<Item = &'v VolumeRequest>,
        index: u32,
    ) {
        for volume in volumes.into_iter().filter(|volume| volume.writes()) {
            let count = self.0.entry(volume.source_of(index).into_owned()).or_default();
            count.all += 1;
            count.alone += u32::from(volume.excludes_writers());
        }
    }

    pub(crate) fn leave<'v>(
        &mut self,
        volumes: impl IntoIterator<Item = &'v VolumeRequest>,
        index: u32,
    ) {
        for volume in volumes.into_iter().filter(|volume| volume.writes()) {
            if let Some(count) = self.0.get_mut(&*volume.source_of(index)) {
                count.all = count.all.saturating_sub(1);
                count.alone = count.alone.saturating_sub(u32::from(volume.excludes_writers()));
            }
        }
    }

    /// Whether an allocation of a group with these volumes may write beside those that do.
    pub(crate) fn admit<'v>(
        &self,
        volumes: impl IntoIterator<Item = &'v VolumeRequest>,
        index: u32,
    ) -> Result<(), String> {
        for volume in volumes.into_iter().filter(|volume| volume.writes()) {
            let source = volume.source_of(index);
            let count = self.0.get(&*source).copied().unwrap_or_default();
            if count.alone > 0 || (volume.excludes_writers() && count.all > 0) {
                return Err(format!("host volume {source} has a writer"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::node;

    fn group(mode: &str, read_only: bool, per_alloc: bool) -> Group {
        let volume = VolumeRequest {
            name: "data".into(),
            kind: "host".into(),
            source: "disk".into(),
            access_mode: mode.into(),
            read_only,
            per_alloc,
            ..VolumeRequest::default()
        };
        Group { volumes: [("data".to_owned(), volume)].into(), ..Group::default() }
    }

    #[test]
    fn one_writer_where_one_is_asked_for() {
        let (single, free) = ("single-node-writer", "single-node-multi-writer");
        for (first, then, together) in [
            (group(single, false, false), group(single, false, false), false),
            (group(single, false, false), group(free, false, false), false),
            (group(free, false, false), group(single, false, false), false),
            (group(free, false, false), group("", false, false), true),
            (group(single, false, false), group(single, true, false), true),
            (group("single-node-reader-only", false, false), group(single, false, false), true),
        ] {
            let mut writers = Writers::default();
            writers.enter(of_host(&first), 0);
            assert_eq!(writers.admit(of_host(&then), 0).is_ok(), together, "{first:?} {then:?}");
            writers.leave(of_host(&first), 0);
            assert_eq!(writers.admit(of_host(&then), 0), Ok(()));
        }
        let mut writers = Writers::default();
        writers.enter(of_host(&group(single, false, true)), 0);
        assert_eq!(
            writers.admit(of_host(&group(single, false, true)), 1),
            Ok(()),
            "each has its own"
        );
        let taken = Err("host volume disk[0] has a writer".to_owned());
        assert_eq!(writers.admit(of_host(&group(single, false, true)), 0), taken);
    }

    #[test]
    fn a_node_offers_what_it_has() {
        let mut node = node(1);
        let asked = |mode: &str, read_only| {
            group(mode, read_only, false).volumes.remove("data").expect("it is there")
        };
        let missing = Err("missing host volume disk".to_owned());
        assert_eq!(offered(&asked("", false), 0, &node), missing);
        let offer = model::HostVolume { read_only: true, ..model::HostVolume::default() };
        node.host_volumes.insert("disk".into(), offer);
        let closed = Err("host volume disk is read-only".to_owned());
        assert_eq!(offered(&asked("", false), 0, &node), closed);
        assert_eq!(offered(&asked("", true), 0, &node), Ok(()));
        assert_eq!(offered(&asked("single-node-reader-only", false), 0, &node), Ok(()));
    }
}
