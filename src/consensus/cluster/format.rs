//! A directory that an older version wrote is still read.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::*;

/// What is written there, by the version that first had this format.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/consensus/format-1")
}

/// Nodes in the snapshot, and after it in the log.
const IN_SNAPSHOT: u64 = 60;
const IN_LOG: u64 = 20;

fn options(dir: &Path) -> Options {
    Options { snapshot_after: 40, keep_entries: 10, ..Options::new(dir.join("raft"), 1) }
}

/// Writes the fixture anew: only when the format itself changes, into a folder of the new format.
#[tokio::test]
#[ignore = "writes what the other test reads"]
async fn write_the_fixture() {
    let dir = tempfile::tempdir().expect("a folder");
    let consensus =
        Consensus::open(Options { address: "old:4647".to_owned(), ..options(dir.path()) })
            .await
            .expect("it opens");
    for number in 1..=IN_SNAPSHOT {
        consensus.propose(register(number)).await.expect("it is applied");
    }
    consensus.snapshot().await.expect("it is written");
    eventually("the log is purged", || (consensus.metrics().purged >= Some(40)).then_some(()))
        .await;
    for number in IN_SNAPSHOT + 1..=IN_SNAPSHOT + IN_LOG {
        consensus.propose(register(number)).await.expect("it is applied");
    }
    let down = Command::SetNodeStatus {
        node: node_id(1),
        status: model::NodeStatus::Down,
        at: Timestamp::default(),
    };
    consensus.propose(down).await.expect("it is applied");
    consensus.close().await;
    let newest = fs::read_dir(dir.path().join("raft/snapshots"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .max()
        .expect("a snapshot");
    fs::create_dir_all(fixture()).expect("it is created");
    let name = newest.file_name().expect("a name").to_string_lossy().into_owned();
    for (from, to) in [(dir.path().join("raft/log.redb"), "log.redb".to_owned()), (newest, name)] {
        let file = File::create(fixture().join(to + ".gz")).expect("it is created");
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        packed.write_all(&fs::read(from).expect("it is read")).expect("it is written");
        packed.finish().expect("it is written");
    }
}

#[tokio::test]
async fn what_the_first_format_wrote_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(dir.path().join("raft/snapshots")).expect("it is created");
    let mut size = 0;
    for entry in fs::read_dir(fixture()).expect("the fixture is there") {
        let path = entry.expect("an entry").path();
        let packed = fs::read(&path).expect("it is read");
        size += packed.len();
        let mut content = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut content)
            .expect("it is unpacked");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let folder = if name.ends_with(".snap") { "raft/snapshots" } else { "raft" };
        fs::write(dir.path().join(folder).join(name), content).expect("it is written");
    }
    assert!(size > 0 && size < 100_000, "{size} bytes");
    let consensus = Consensus::open(options(dir.path())).await.expect("it opens");
    let state = consensus.state();
    for number in 1..=IN_SNAPSHOT + IN_LOG {
        let node = state.node(node_id(number)).expect("it was written");
        assert_eq!(node.name, format!("machine-{number:06}"));
        let down = node.status == model::NodeStatus::Down;
        assert_eq!(down, number == 1, "{number}");
    }
    assert_eq!(state.nodes().count() as u64, IN_SNAPSHOT + IN_LOG);
    let members = consensus.members();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].address, "old:4647");
    assert!(consensus.metrics().purged >= Some(40), "it begins with the snapshot");
    consensus.propose(register(1_000)).await.expect("it goes on");
    consensus.close().await;
}
