use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// Unpacks bytes into a new folder.
fn unpacked(
    name: &str,
    bytes: &[u8],
    limits: Bounds,
) -> (tempfile::TempDir, Result<(), FetchError>) {
    let root = tempfile::tempdir().expect("a folder");
    let (packing, stem) = packing(name, None).expect("known").expect("an archive");
    let archive = root.path().join("archive");
    fs::write(&archive, bytes).expect("written");
    let into = root.path().join("tree");
    fs::create_dir(&into).expect("a folder");
    let bounds = Bounds { archive: Some(bytes.len() as u64), ..limits };
    let folder = OwnedFd::from(File::open(&into).expect("opens"));
    let mut tree = Tree::new(folder, bounds, None).expect("a tree");
    let file = File::open(archive).expect("opens");
    let result = unpack(file, packing, bounds, &stem, &mut tree).and_then(|()| tree.finish());
    (root, result)
}

fn refusal(name: &str, bytes: &[u8], limits: Bounds) -> String {
    let (_, result) = unpacked(name, bytes, limits);
    let error = result.expect_err("refused");
    assert!(!error.recoverable, "{error}");
    error.message
}

/// One header of a tar archive, with whatever name it is given.
pub(crate) fn header(kind: EntryType, name: &[u8], target: &[u8], mode: u32, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    let bytes = header.as_mut_bytes();
    bytes.iter_mut().zip(name.iter().take(100)).for_each(|(to, from)| *to = *from);
    bytes.iter_mut().skip(157).zip(target.iter().take(100)).for_each(|(to, from)| *to = *from);
    header.set_cksum();
    header.as_bytes().to_vec()
}

use tar::EntryType;

fn file(name: &[u8], mode: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(EntryType::Regular, name, b"", mode, content.len() as u64);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut all = entries.concat();
    all.extend([0; 1024]);
    all
}

/// A name longer than a header holds.
fn long(name: &[u8]) -> Vec<u8> {
    let mut bytes = header(EntryType::GNULongName, b"././@LongLink", b"", 0, name.len() as u64 + 1);
    bytes.extend(name);
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn packed(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("in");
    fs::write(&path, input).expect("written");
    let output = Command::new(program).args(arguments).arg(&path).output();
    match output {
        Ok(output) if output.status.success() => Some(output.stdout),
        other => {
            assert!(std::env::var_os("CI").is_none(), "{program} is needed: {other:?}");
            eprintln!("skipped: there is no {program}");
            None
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packs");
    encoder.finish().expect("packs")
}

#[test]
fn endings_and_the_option_say_what_it_is() {
    let known = |file: &str, option: Option<&str>| {
        packing(file, option).expect("a word").map(|(p, n)| (p.holds, p.codec, n))
    };
    assert_eq!(known("a.tar.gz", None), Some((Holds::Tar, Codec::Gzip, "a".into())));
    assert_eq!(known("A.TGZ", None), Some((Holds::Tar, Codec::Gzip, "A".into())));
    assert_eq!(known("x.json.zst", None), Some((Holds::File, Codec::Zstd, "x.json".into())));
    assert_eq!(known("tool", None), None);
    assert_eq!(known("tar", None), None, "a name and no ending");
    assert_eq!(known("a.zip", Some("false")), None);
    assert_eq!(known("download", Some("zip")), Some((Holds::Zip, Codec::Plain, "download".into())));
    assert!(packing("a", Some("rar")).is_err());
}

#[test]
fn every_packing_is_read() {
    let archive = tar(&[file(b"dir/hello", 0o755, b"hello\n")]);
    let check = |name: &str, bytes: Vec<u8>| {
        let (root, result) = unpacked(name, &bytes, Bounds::default());
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            fs::read(root.path().join("tree/dir/hello")).expect("there"),
            b"hello\n",
            "{name}"
        );
    };
    check("a.tar", archive.clone());
    check("a.tgz", gzip(&archive));
    for (program, arguments, name) in [
        ("bzip2", &["-c"][..], "a.tar.bz2"),
        ("xz", &["-c"], "a.tar.xz"),
        ("zstd", &["-qc"], "a.tar.zst"),
    ] {
        if let Some(bytes) = packed(program, arguments, &archive) {
            // Two streams one after the other are one file.
            let mut twice = bytes.clone();
            twice.extend(packed(program, arguments, b"").unwrap_or_default());
            check(name, twice);
        }
    }
    let (root, result) = unpacked("words.txt.gz", &gzip(b"words"), Bounds::default());
    result.expect("one file");
    assert_eq!(fs::read(root.path().join("tree/words.txt")).expect("there"), b"words");
}

#[test]
fn a_tar_archive_cannot_escape() {
    let link = |target: &[u8]| header(EntryType::Symlink, b"l", target, 0o777, 0);
    let say = |entries: &[Vec<u8>]| refusal("a.tar", &tar(entries), Bounds::default());
    assert!(say(&[file(b"../x", 0o644, b"x")]).contains("`../x` has `..`"));
    assert!(say(&[file(b"/etc/x", 0o644, b"x")]).contains("absolute name"));
    assert!(say(&[link(b"/etc")]).contains("`l` is a link to an absolute path"));
    assert!(say(&[link(b"../..")]).contains("leads out"));
    assert!(say(&[link(b"d"), file(b"l/x", 0o644, b"x")]).contains("goes through the link `l`"));
    assert!(
        say(&[header(EntryType::Link, b"h", b"../../etc/passwd", 0o644, 0)]).contains("hard link")
    );
    assert!(say(&[header(EntryType::Link, b"h", b"etc/passwd", 0o644, 0)]).contains("hard link"));
    assert!(say(&[header(EntryType::Char, b"tty", b"", 0o666, 0)]).contains("`tty` is a device"));
    assert!(say(&[header(EntryType::Block, b"sda", b"", 0o666, 0)]).contains("device"));
    assert!(say(&[header(EntryType::Fifo, b"pipe", b"", 0o666, 0)]).contains("named pipe"));
    assert!(say(&[long(&[b'x'; 5000]), file(b"x", 0o644, b"")]).contains("longer than"));
    assert!(say(&[long(&b"d/".repeat(2000)), file(b"x", 0o644, b"")]).contains("deep"));
    assert!(
        say(&[long(&[b'x'; 70_000]), file(b"x", 0o644, b"")]).contains("longer than 65536 bytes")
    );
    let deep: Vec<_> = (1..=10_000_usize)
        .map(|n| {
            [long(&b"d/".repeat(n.min(2000))), header(EntryType::Directory, b"d", b"", 0o755, 0)]
                .concat()
        })
        .collect();
    let said = say(&deep);
    assert!(said.contains("64 folders deep"), "{said}");
}

#[test]
fn special_bits_are_dropped() {
    use std::os::unix::fs::PermissionsExt as _;
    let (root, result) = unpacked(
        "a.tar",
        &tar(&[file(b"su", 0o7755, b"x"), header(EntryType::Directory, b"d/", b"", 0o7777, 0)]),
        Bounds::default(),
    );
    result.expect("unpacks");
    let mode = |name: &str| {
        root.path().join("tree").join(name).metadata().expect("there").permissions().mode() & 0o7777
    };
    assert_eq!((mode("su"), mode("d")), (0o755, 0o777));
}

#[test]
fn bombs_are_found() {
    let many: Vec<_> = (0..5000).map(|n| file(format!("f{n}").as_bytes(), 0o644, b"")).collect();
    let limits = Bounds { entries: 4096, ..Bounds::default() };
    assert!(refusal("a.tar", &tar(&many), limits).contains("at most 4096"));
    let zeros = vec![0; 200 << 20];
    let said =
        refusal("a.tar.gz", &gzip(&tar(&[file(b"zeros", 0o644, &zeros)])), Bounds::default());
    assert!(said.contains("bomb") && said.contains("`zeros`"), "{said}");
    let said = refusal("zeros.gz", &gzip(&zeros), Bounds::default());
    assert!(said.contains("bomb"), "{said}");
    let small = Bounds { bytes: 1000, ..Bounds::default() };
    assert!(
        refusal("a.tar", &tar(&[file(b"f", 0o644, &[1; 2000])]), small)
            .contains("larger than 1000 bytes")
    );
}

#[test]
fn damaged_archives_are_refused() {
    let archive = gzip(&tar(&[file(b"f", 0o644, &[7; 5000])]));
    for cut in [10, archive.len() / 2, archive.len() - 9] {
        let (_, result) = unpacked("a.tgz", &archive[..cut], Bounds::default());
        assert!(result.is_err(), "cut at {cut}");
    }
    for name in ["a.tar", "a.tgz", "a.zip", "a.txz", "a.tbz2", "a.tzst"] {
        let (_, result) = unpacked(name, &[b'?'; 3000], Bounds::default());
        assert!(result.is_err(), "{name}");
    }
}

/// A zip archive with one stored entry.
pub(crate) fn zip(entries: &[(&[u8], u32, &[u8])]) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, content) in entries {
        let offset = u32::try_from(all.len()).expect("small");
        let crc = crc32fast::hash(content);
        let length = u32::try_from(content.len()).expect("small");
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend([0; 2]); // flags
        common.extend([0; 2]); // stored
        common.extend([0; 4]); // time
        common.extend(crc.to_le_bytes());
        common.extend(length.to_le_bytes());
        common.extend(length.to_le_bytes());
        common.extend(u16::try_from(name.len()).expect("short").to_le_bytes());
        common.extend([0; 2]); // extra
        all.extend(0x0403_4b50_u32.to_le_bytes());
        all.extend(&common);
        all.extend(*name);
        all.extend(*content);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend([20, 3]); // made on Unix
        directory.extend(&common);
        directory.extend([0; 6]); // comment, disk, attributes
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(*name);
    }
    let (offset, size) = (all.len(), directory.len());
    all.extend(directory);
    all.extend(0x0605_4b50_u32.to_le_bytes());
    all.extend([0; 4]);
    let count = u16::try_from(entries.len()).expect("few");
    all.extend(count.to_le_bytes());
    all.extend(count.to_le_bytes());
    all.extend(u32::try_from(size).expect("small").to_le_bytes());
    all.extend(u32::try_from(offset).expect("small").to_le_bytes());
    all.extend([0; 2]);
    all
}

#[test]
fn a_zip_archive_cannot_escape() {
    let say = |name: &[u8], mode: u32, content: &[u8]| {
        refusal("a.zip", &zip(&[(name, mode, content)]), Bounds::default())
    };
    assert!(say(b"../x", 0o100_644, b"x").contains("`../x` has `..`"));
    assert!(say(b"/etc/x", 0, b"x").contains("absolute"));
    assert!(say(b"l", 0o120_777, b"/etc/passwd").contains("absolute path"));
    assert!(say(b"d/l", 0o120_777, b"../../x").contains("leads out"));
    assert!(say(b"p", 0o010_644, b"").contains("named pipe"));
    assert!(say(b"c", 0o020_644, b"").contains("device"));
    let through = zip(&[(b"l", 0o120_777, b"d"), (b"l/x", 0, b"x")]);
    assert!(refusal("a.zip", &through, Bounds::default()).contains("through the link"));
    let (root, result) = unpacked(
        "a.zip",
        &zip(&[(b"a/b", 0o104_755, b"x"), (b"l", 0o120_777, b"a/b")]),
        Bounds::default(),
    );
    result.expect("unpacks");
    assert_eq!(fs::read(root.path().join("tree/l")).expect("there"), b"x");
}

#[test]
fn what_zip_writes_is_read_and_its_bombs_are_found() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("zeros"), vec![0; 200 << 20]).expect("written");
    fs::create_dir(dir.path().join("d")).expect("a folder");
    fs::write(dir.path().join("d/words"), "words ".repeat(1000)).expect("written");
    let run = |name: &str, what: &str| {
        let output = Command::new("zip").args(["-qr", name, what]).current_dir(dir.path()).output();
        if !output.as_ref().is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "zip is needed: {output:?}");
            eprintln!("skipped: there is no zip");
            return None;
        }
        Some(fs::read(dir.path().join(name)).expect("there"))
    };
    if let Some(bytes) = run("good.zip", "d") {
        let (root, result) = unpacked("good.zip", &bytes, Bounds::default());
        result.expect("unpacks");
        assert_eq!(
            fs::read_to_string(root.path().join("tree/d/words")).expect("there"),
            "words ".repeat(1000)
        );
    }
    if let Some(bytes) = run("bomb.zip", "zeros") {
        assert!(refusal("bomb.zip", &bytes, Bounds::default()).contains("bomb"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any entries, and any bytes changed in them: nothing outside of the folder changes, and nothing panics.
    #[test]
    fn archives_never_write_outside(
        entries in prop::collection::vec((0..7_usize, "[./a-c]{0,12}", "[./a-c]{0,12}", any::<u32>()), 1..8),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        as_zip in any::<bool>(),
    ) {
        let kinds = [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link, EntryType::Fifo, EntryType::Char, EntryType::XHeader];
        let modes = [0o100_644, 0o040_755, 0o120_777, 0o104_755, 0o010_644, 0o020_666, 0];
        let mut bytes = if as_zip {
            let list: Vec<_> = entries.iter().map(|(kind, name, target, _)| (name.as_bytes(), modes[*kind], target.as_bytes())).collect();
            zip(&list)
        } else {
            tar(&entries.iter().map(|(kind, name, target, mode)| match kinds[*kind] {
                EntryType::Regular => file(name.as_bytes(), *mode, target.as_bytes()),
                kind => header(kind, name.as_bytes(), target.as_bytes(), *mode, 0),
            }).collect::<Vec<_>>())
        };
        for (at, byte) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let limits = Bounds { entries: 100, bytes: 1 << 20, archive: None };
        let (root, _) = unpacked(if as_zip { "a.zip" } else { "a.tar" }, &bytes, limits);
        let mut there: Vec<_> = fs::read_dir(root.path()).expect("lists").map(|e| e.expect("entry").file_name()).collect();
        there.sort();
        prop_assert_eq!(there, ["archive", "tree"]);
        prop_assert_eq!(fs::read(root.path().join("archive")).expect("there"), bytes);
    }
}
