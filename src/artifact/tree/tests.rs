use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn tree(root: &Path, bounds: Bounds, within: Option<&str>) -> Tree {
    let root = OwnedFd::from(File::open(root).expect("opens"));
    Tree::new(root, bounds, within).expect("a tree")
}

fn words(result: Result<(), FetchError>) -> String {
    let error = result.expect_err("refused");
    assert!(!error.recoverable, "{error}");
    error.message
}

#[test]
fn names_that_leave_are_refused_by_name() {
    let root = tempfile::tempdir().expect("a folder");
    let mut tree = tree(root.path(), Bounds::default(), None);
    for name in ["../x", "a/../../x", "/etc/passwd", "..", "a/.."] {
        let said = words(tree.file(name.as_bytes(), 0o644, &mut &b"x"[..]));
        assert!(said.contains(name), "{said}");
    }
    assert!(words(tree.file(&[b'x'; 5000], 0o644, &mut &b""[..])).contains("longer than"));
    assert!(words(tree.file(&[b'x'; 300], 0o644, &mut &b""[..])).contains("longer than"));
    assert!(words(tree.folder("d/".repeat(100).as_bytes(), 0o755)).contains("64 folders deep"));
    assert!(words(tree.file(b"a\0b", 0o644, &mut &b""[..])).contains("zero byte"));
}

#[test]
fn links_stay_inside_and_nothing_goes_through_them() {
    for target in ["/etc", "..", "a/../../x", "out/../..", "../../x"] {
        let root = tempfile::tempdir().expect("a folder");
        let mut tree = tree(root.path(), Bounds::default(), None);
        let made = tree.link(b"l", target.as_bytes()).and_then(|()| tree.finish());
        assert!(words(made).contains("leads out"), "{target}");
        assert_eq!(fs::read_dir(root.path()).expect("lists").count(), 0);
    }
    let root = tempfile::tempdir().expect("a folder");
    let mut tree = tree(root.path(), Bounds::default(), None);
    tree.link(b"d/l", b"../e").expect("kept");
    assert!(words(tree.file(b"d/l/f", 0o644, &mut &b"x"[..])).contains("through the link `d/l`"));
    // Each is inside by its own; together they leave: e/s is d/t, d/t is `..` of the root.
    tree.link(b"chain", b"d/l/../..").expect("kept");
    assert!(words(tree.finish()).contains("leads out"));
}

#[test]
fn good_links_are_made() {
    let root = tempfile::tempdir().expect("a folder");
    let mut tree = tree(root.path(), Bounds::default(), None);
    tree.file(b"bin/tool-1", 0o4755, &mut &b"x"[..]).expect("written");
    tree.link(b"bin/tool", b"tool-1").expect("kept");
    tree.hard_link(b"same", b"./bin/tool-1").expect("made");
    assert!(words(tree.hard_link(b"out", b"/etc/passwd")).contains("hard link"));
    assert!(words(tree.hard_link(b"out", b"bin/tool")).contains("hard link"));
    tree.finish().expect("links");
    assert_eq!(fs::read(root.path().join("bin/tool")).expect("reads"), b"x");
    let mode = root.path().join("same").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "setuid is dropped");
}

#[test]
fn only_what_was_asked_for_is_written() {
    let root = tempfile::tempdir().expect("a folder");
    let mut tree = tree(root.path(), Bounds::default(), Some("a/b"));
    tree.file(b"a/b/c", 0o644, &mut &b"x"[..]).expect("written");
    tree.file(b"a/d", 0o644, &mut &b"x"[..]).expect("skipped");
    tree.link(b"a/b/l", b"../d").expect("kept");
    assert!(words(tree.finish()).contains("leads out"), "of the folder that was asked for");
    assert!(root.path().join("c").exists() && !root.path().join("a").exists());
    let mut none = self::tree(root.path(), Bounds::default(), Some("x"));
    none.file(b"y", 0o644, &mut &b""[..]).expect("skipped");
    assert!(words(none.finish()).contains("nothing in it at `x`"));
}

#[test]
fn there_is_a_limit_to_everything() {
    let root = tempfile::tempdir().expect("a folder");
    let bounds = Bounds { entries: 3, bytes: 10, archive: None };
    let mut small = tree(root.path(), bounds, None);
    assert!(words(small.file(b"big", 0o644, &mut &[0; 11][..])).contains("larger than 10 bytes"));
    let mut many = tree(root.path(), bounds, None);
    // A folder that is only implied counts too.
    many.file(b"d/e/f", 0o644, &mut &b""[..]).expect("three");
    assert!(words(many.file(b"x", 0o644, &mut &b""[..])).contains("at most 3 files"));
    let mut bomb = tree(root.path(), Bounds { archive: Some(1000), ..Bounds::default() }, None);
    let said = words(bomb.file(b"zeros", 0o644, &mut std::io::repeat(0).take(1 << 30)));
    assert!(said.contains("bomb") && said.contains("`zeros`"), "{said}");
}

fn names() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(".."),
        Just("."),
        Just(""),
        Just("a"),
        Just("b"),
        Just("l"),
        Just("canary"),
        Just("inside")
    ];
    (any::<bool>(), prop::collection::vec(part, 0..5))
        .prop_map(|(slash, parts)| format!("{}{}", if slash { "/" } else { "" }, parts.join("/")))
}

proptest! {
    /// Whatever names, links and hard links come in whatever order, nothing outside of the folder changes, and no link
    /// that was made leads out of it.
    #[test]
    fn nothing_outside_changes(entries in prop::collection::vec((0..4_u8, names(), names()), 1..12)) {
        let outer = tempfile::tempdir().expect("a folder");
        fs::write(outer.path().join("canary"), "untouched").expect("a canary");
        let inside = outer.path().join("inside");
        fs::create_dir(&inside).expect("a folder");
        let mut tree = tree(&inside, Bounds::default(), None);
        for (kind, name, target) in &entries {
            let (name, target) = (name.as_bytes(), target.as_bytes());
            let _ = match kind {
                0 => tree.file(name, 0o6777, &mut &b"evil"[..]),
                1 => tree.folder(name, 0o777),
                2 => tree.link(name, target),
                _ => tree.hard_link(name, target),
            };
        }
        let _ = tree.finish();
        let mut there: Vec<_> = fs::read_dir(outer.path()).expect("lists")
            .map(|entry| entry.expect("entry").file_name()).collect();
        there.sort();
        prop_assert_eq!(there, ["canary", "inside"]);
        prop_assert_eq!(fs::read_to_string(outer.path().join("canary")).expect("reads"), "untouched");
        let real = inside.canonicalize().expect("a path");
        let mut folders = vec![inside];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("lists") {
                let path = entry.expect("entry").path();
                let kind = path.symlink_metadata().expect("there").file_type();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_symlink() && let Ok(end) = path.canonicalize() {
                    prop_assert!(end.starts_with(&real), "{} leads to {}", path.display(), end.display());
                }
            }
        }
    }
}
