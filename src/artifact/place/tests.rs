use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for folder in ["alloc/logs", "alloc/data", "web/local", "web/private", "web/secrets"] {
        fs::create_dir_all(root.path().join(folder)).expect("makes");
    }
    root
}

fn is_refused(text: &str, mode: Mode) -> bool {
    Destination::parse("web", text, mode).is_err()
}

fn steps(text: &str) -> String {
    let destination = Destination::parse("web", text, Mode::Any).expect("a destination");
    destination.steps.join("/")
}

#[test]
fn destinations_stay_in_the_allocation() {
    assert_eq!(steps("local/"), "web/local");
    assert_eq!(steps("/local/x"), "web/local/x");
    assert_eq!(steps("../alloc/data"), "alloc/data");
    assert_eq!(steps("a/../../web/b"), "web/b");
    assert_eq!(steps(""), "web");
    for text in [
        "../../x",
        "..",
        "../other/local",
        "../alloc/logs",
        "../alloc/logs/x",
        "private/x",
        "../web/private",
    ] {
        assert!(is_refused(text, Mode::Any), "{text}");
    }
    let file = Destination::parse("web", "local/a/b", Mode::File).expect("a file");
    assert_eq!((file.steps.join("/"), file.name.as_deref()), ("web/local/a".into(), Some("b")));
    assert!(is_refused("", Mode::File));
    assert!(is_refused("../alloc", Mode::File), "the folder itself");
}

fn staged(root: &Path) -> PathBuf {
    let staging = stage(root, "web", Owner::agent()).expect("a staging folder");
    let tree = staging.join(TREE);
    fs::create_dir(&tree).expect("makes");
    tree
}

fn put(root: &Path, destination: &str) -> Result<(), FetchError> {
    let destination = Destination::parse("web", destination, Mode::Any)?;
    install(root, "web", &destination, Owner::agent(), Owner::agent())
}

#[test]
fn what_was_staged_is_merged_and_loses_its_special_bits() {
    let root = root();
    let tree = staged(root.path());
    fs::create_dir(tree.join("d")).expect("makes");
    fs::write(tree.join("d/new"), "new").expect("writes");
    fs::write(tree.join("d/both"), "new").expect("writes");
    fs::set_permissions(tree.join("d/new"), fs::Permissions::from_mode(0o6755)).expect("sets");
    symlink("d/new", tree.join("l")).expect("a link");
    fs::create_dir_all(root.path().join("web/local/d")).expect("makes");
    fs::write(root.path().join("web/local/d/old"), "old").expect("writes");
    fs::write(root.path().join("web/local/d/both"), "old").expect("writes");
    put(root.path(), "local").expect("installs");
    let read =
        |name: &str| fs::read_to_string(root.path().join("web/local").join(name)).expect("there");
    assert_eq!(
        (read("d/new"), read("d/old"), read("d/both"), read("l")),
        ("new".into(), "old".into(), "new".into(), "new".into())
    );
    let mode = root.path().join("web/local/d/new").metadata().expect("there").mode();
    assert_eq!(mode & 0o7777, 0o755);
    unstage(root.path(), "web").expect("removed");
    assert_eq!(fs::read_dir(root.path().join(STAGING)).expect("lists").count(), 0);
}

#[test]
fn links_that_a_task_planted_are_not_followed() {
    let root = root();
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("f"), "untouched").expect("writes");
    let tree = staged(root.path());
    fs::create_dir(tree.join("d")).expect("makes");
    fs::write(tree.join("d/f"), "evil").expect("writes");
    // In the destination's path.
    symlink(outside.path(), root.path().join("web/local/way")).expect("a link");
    assert!(put(root.path(), "local/way").expect_err("refused").message.contains("web/local/way"));
    // Where a folder of the download goes.
    symlink(outside.path(), root.path().join("web/local/d")).expect("a link");
    assert!(put(root.path(), "local").expect_err("refused").message.contains("is no folder"));
    // Where a file goes: the link is replaced, and what it pointed to is not touched.
    let tree = staged(root.path());
    fs::write(tree.join("f"), "new").expect("writes");
    symlink(outside.path().join("f"), root.path().join("web/local/f")).expect("a link");
    put(root.path(), "local").expect("installs");
    assert_eq!(fs::read_to_string(outside.path().join("f")).expect("there"), "untouched");
    assert!(root.path().join("web/local/f").symlink_metadata().expect("there").is_file());
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 1);
}

#[test]
fn the_agents_own_places_are_not_written_to() {
    let root = root();
    let tree = staged(root.path());
    fs::create_dir(tree.join("logs")).expect("makes");
    assert!(put(root.path(), "../alloc").expect_err("refused").message.contains("`logs`"));
    put(root.path(), "local").expect("elsewhere it is a name like any other");
    let tree = staged(root.path());
    fs::create_dir(tree.join("private")).expect("makes");
    assert!(put(root.path(), ".").expect_err("refused").message.contains("`private`"));
    let tree = staged(root.path());
    assert!(
        std::process::Command::new("mkfifo").arg(tree.join("p")).status().expect("runs").success()
    );
    assert!(put(root.path(), "local").expect_err("refused").message.contains("neither a file"));
}

#[test]
fn a_file_in_the_place_of_a_folder_is_said() {
    let root = root();
    let tree = staged(root.path());
    fs::write(tree.join("x"), "x").expect("writes");
    fs::create_dir_all(root.path().join("web/local/x/y")).expect("makes");
    assert!(
        put(root.path(), "local")
            .expect_err("refused")
            .message
            .contains("is a folder in the destination")
    );
}

#[test]
fn what_is_staged_anew_is_empty_however_deep_it_was() {
    let root = root();
    let tree = staged(root.path());
    let mut at = open(&tree).expect("opens");
    for depth in 0..2000 {
        let mode = if depth % 7 == 0 { 0o500 } else { 0o700 };
        mkdirat(&at, "d", Permissions::S_IRWXU).expect("makes");
        let next = openat(&at, "d", OPEN, Permissions::empty()).expect("opens");
        fchmod(at.as_fd(), Permissions::from_bits_truncate(mode)).expect("sets");
        at = next;
    }
    let staging = stage(root.path(), "web", Owner::agent()).expect("staged anew");
    assert_eq!(fs::read_dir(&staging).expect("lists").count(), 0);
    // Something else in its place is no folder to be trusted.
    fs::remove_dir(&staging).expect("removes");
    symlink("/etc", &staging).expect("a link");
    stage(root.path(), "web", Owner::agent()).expect("staged anew");
    assert!(Path::new("/etc/passwd").exists() && !staging.is_symlink());
}

#[test]
fn what_the_child_did_not_make_is_not_given_away() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this needs root");
        eprintln!("skipped: only root has anything to give away");
        return;
    }
    let root = root();
    let child = Owner { uid: 65_534, gid: 65_534 };
    let staging = stage(root.path(), "web", child).expect("a staging folder");
    assert_eq!(staging.metadata().expect("there").uid(), 65_534);
    fs::create_dir(staging.join(TREE)).expect("makes");
    // As if it had found a way to give a file of root's another name.
    fs::write(root.path().join("roots"), "x").expect("writes");
    fs::hard_link(root.path().join("roots"), staging.join(TREE).join("mine")).expect("links");
    let destination = Destination::parse("web", "local", Mode::Any).expect("a destination");
    let owner = Owner { uid: 1234, gid: 1234 };
    for owner in [owner, Owner::agent()] {
        let error = install(root.path(), "web", &destination, owner, child).expect_err("refused");
        assert!(error.message.contains("belongs to somebody else"), "{error}");
    }
    assert_eq!(root.path().join("roots").metadata().expect("there").uid(), 0);
    // What it did make goes to who is to have it.
    let staging = stage(root.path(), "web", child).expect("anew");
    let tree = staging.join(TREE);
    fs::create_dir(&tree).expect("makes");
    fs::write(tree.join("f"), "x").expect("writes");
    std::os::unix::fs::chown(tree.join("f"), Some(65_534), Some(65_534)).expect("gives");
    install(root.path(), "web", &destination, owner, child).expect("installs");
    let file = root.path().join("web/local/f").metadata().expect("there");
    assert_eq!((file.uid(), file.gid()), (1234, 1234));
}
