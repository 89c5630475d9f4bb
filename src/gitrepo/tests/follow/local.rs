//! Repositories on this machine.

use std::os::unix::fs::symlink;

use gitrepo::{FetchError, FileKind, PathPattern, ReadError, Reader, WorkTree};
use model::{BlobId, CommitId};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, files, git_in, refresh};

fn id(text: &str) -> CommitId {
    CommitId::from(text)
}

#[test]
fn commits_arrive_and_stay() {
    let fixture = Fixture::new();
    let mut mirror = fixture.mirror(fixture.config());
    let first = refresh(&mut mirror).expect("fetched");
    assert_eq!((first.commit.id.as_str(), first.fetched), (fixture.head().as_str(), true));
    assert_eq!(
        (first.branch.as_str(), first.commit.author.as_str()),
        ("main", "Ada <ada@example.org>")
    );
    assert_eq!(first.commit.subject, "jobs/web.hcl: one");
    assert!(first.commit.parents.is_empty() && !first.commit.committed_at.is_zero());
    assert!(!refresh(&mut mirror).expect("looked").fetched, "nothing has moved");

    let second = fixture.commit("jobs/api.hcl", "two");
    let seen = refresh(&mut mirror).expect("fetched");
    assert_eq!((seen.commit.id.as_str(), seen.fetched), (second.as_str(), true));
    assert_eq!(seen.commit.parents, std::slice::from_ref(&first.commit.id));
    let (paths, text) = files(&mirror);
    assert_eq!((paths, text.as_str()), (vec!["jobs/api.hcl".into(), "jobs/web.hcl".into()], "two"));

    let reader = Reader::open(mirror.path()).expect("opened");
    let (old, new) = (&first.commit.id, &seen.commit.id);
    assert_eq!(reader.is_ancestor(old, new), Ok(true));
    assert_eq!(reader.is_ancestor(new, new), Ok(true));
    assert_eq!(reader.is_ancestor(new, old), Ok(false));
    let unknown = id(&"1".repeat(40));
    assert!(matches!(reader.is_ancestor(&unknown, new), Err(ReadError::NotFound { .. })));
    assert!(matches!(reader.tree(&unknown, &[]), Err(ReadError::NotFound { .. })));
    let log = reader.log(None, new, 10).expect("read");
    assert_eq!(log.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), [new.clone(), old.clone()]);
    assert_eq!(reader.log(Some(old), new, 10).expect("read").len(), 1);
    assert_eq!(reader.log(None, new, 1).expect("read").len(), 1);
}

#[test]
fn a_force_push_is_seen_and_the_old_commit_kept() {
    let fixture = Fixture::new();
    let lost = fixture.commit("jobs/a.hcl", "lost");
    let mut mirror = fixture.mirror(fixture.config());
    refresh(&mut mirror).expect("fetched");
    fixture.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let new = fixture.commit("jobs/a.hcl", "rewritten");
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), new);
    let reader = Reader::open(mirror.path()).expect("opened");
    assert_eq!(reader.is_ancestor(&id(&lost), &id(&new)), Ok(false));
    assert_eq!(reader.tree(&id(&lost), &[]).expect("still read").files.len(), 2);
}

#[test]
fn a_branch_that_goes_back_needs_no_objects() {
    let fixture = Fixture::new();
    let first = fixture.head();
    fixture.commit("jobs/a.hcl", "more");
    let mut mirror = fixture.mirror(fixture.config());
    refresh(&mut mirror).expect("fetched");
    fixture.git(&["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(refresh(&mut mirror).expect("looked").commit.id.as_str(), first);
}

#[test]
fn branches_that_are_not_there_are_named() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "next"]);
    let mut config = fixture.config();
    config.branch = Some("prod".into());
    let error = refresh(&mut fixture.mirror(config)).expect_err("absent");
    let FetchError::BranchNotFound { branch, available, .. } = error else { panic!("{error}") };
    assert_eq!(
        (branch.as_str(), available.as_slice()),
        ("prod", ["main".into(), "next".into()].as_slice())
    );

    let empty = Fixture::empty();
    let error = refresh(&mut empty.mirror(empty.config())).expect_err("empty");
    assert_eq!(error.kind(), "empty-repository");
}

#[test]
fn a_path_that_vanishes_is_an_error_and_can_come_back() {
    let fixture = Fixture::new();
    let mut mirror = fixture.mirror(fixture.config());
    let seen = refresh(&mut mirror).expect("fetched");
    let away = fixture.dir.path().join("away");
    std::fs::rename(fixture.repo(), &away).expect("moved");
    let error = refresh(&mut mirror).expect_err("gone");
    assert_eq!(error.kind(), "repository-not-found");
    assert_eq!(mirror.head().expect("kept").0, seen.commit);
    assert_eq!(files(&mirror).1, "one", "what was fetched is still read");
    std::fs::rename(&away, fixture.repo()).expect("moved back");
    let new = fixture.commit("jobs/web.hcl", "two");
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), new);
}

#[test]
fn a_folder_without_its_git_is_not_a_part_of_the_one_above() {
    let outer = Fixture::new();
    let inner = outer.repo().join("inner");
    std::fs::create_dir(&inner).expect("folder");
    git_in(&inner, &["init", "-q", "-b", "main", "."]);
    git_in(&inner, &["commit", "-q", "--allow-empty", "-m", "inner"]);
    let mut mirror = outer.mirror(outer.config_for(inner.to_str().expect("UTF-8")));
    refresh(&mut mirror).expect("fetched");
    std::fs::remove_dir_all(inner.join(".git")).expect("removed");
    let error = refresh(&mut mirror).expect_err("gone");
    assert_eq!(error.kind(), "repository-not-found");
}

#[test]
fn revisions_have_many_names() {
    let fixture = Fixture::new();
    let first = fixture.head();
    fixture.git(&["tag", "-a", "v1", "-m", "first"]);
    let second = fixture.commit("jobs/a.hcl", "two");
    fixture.git(&["branch", "side", "HEAD~1"]);
    let mut mirror = fixture.mirror(fixture.config());
    refresh(&mut mirror).expect("fetched");
    let stop = CancellationToken::new();
    for (revision, expected) in [
        ("main", &second),
        ("HEAD", &second),
        ("HEAD~1", &first),
        ("main^", &first),
        ("v1", &first),
        ("side", &first),
        (&first[..8], &first),
        (second.as_str(), &second),
    ] {
        let resolved = mirror.resolve(revision, &stop).map(|id| id.to_string());
        assert_eq!(resolved.as_ref(), Ok(expected), "{revision}");
    }
    assert!(matches!(mirror.resolve("absent", &stop), Err(ReadError::NotFound { .. })));
    for odd in ["", "-x", "HEAD:jobs", "HEAD^{/x}", "HEAD^{tree}"] {
        assert!(matches!(mirror.resolve(odd, &stop), Err(ReadError::Refused { .. })), "{odd}");
    }
    // A commit on another branch is copied when it is named.
    fixture.git(&["checkout", "-q", "side"]);
    let other = fixture.commit("jobs/b.hcl", "side");
    fixture.git(&["checkout", "-q", "main"]);
    let resolved = mirror.resolve("side", &stop).expect("resolved");
    assert_eq!(resolved.as_str(), other);
    let reader = Reader::open(mirror.path()).expect("opened");
    assert_eq!(reader.tree(&resolved, &[]).expect("listed").files.len(), 2);
}

#[test]
fn listings_name_links_and_submodules_and_follow_patterns() {
    let fixture = Fixture::new();
    symlink("web.hcl", fixture.repo().join("jobs/link.hcl")).expect("linked");
    fixture.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{},vendor/x", "a".repeat(40)),
    ]);
    fixture.git(&["add", "jobs"]);
    fixture.git(&["commit", "-q", "-m", "odd things"]);
    let reader = Reader::open(&fixture.repo()).expect("opened");
    let head = id(&fixture.head());
    let all = reader.tree(&head, &[]).expect("listed");
    let kinds: Vec<_> = all.files.iter().map(|f| (f.path.as_str(), f.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("jobs/link.hcl", FileKind::Symlink),
            ("jobs/web.hcl", FileKind::File),
            ("vendor/x", FileKind::Submodule)
        ]
    );
    let patterns = [PathPattern::parse("jobs/w*.hcl").expect("a pattern")];
    assert_eq!(reader.tree(&head, &patterns).expect("listed").files.len(), 1);
    let (blob, bytes) = reader.file(&head, "jobs/web.hcl", 3).expect("read");
    assert_eq!((bytes.as_slice(), &blob), (b"one".as_slice(), &all.files[1].blob));
    let error = reader.blob(&blob, 2).expect_err("too large");
    assert!(error.to_string().contains("3 bytes, more than the 2"), "{error}");
    for path in ["jobs/link.hcl", "jobs", "vendor/x", ""] {
        assert!(matches!(reader.file(&head, path, 10), Err(ReadError::Refused { .. })), "{path}");
    }
    assert!(matches!(reader.file(&head, "jobs/x", 10), Err(ReadError::NotFound { .. })));
    let tree = BlobId::from(reader.commit(&head).expect("read").tree);
    assert!(matches!(reader.blob(&tree, 10), Err(ReadError::Refused { .. })));
}

#[test]
fn a_listing_with_a_missing_part_is_an_error() {
    let fixture = Fixture::new();
    let tree = fixture.git(&["rev-parse", "HEAD:jobs"]);
    let object = fixture.repo().join(".git/objects").join(&tree[..2]).join(&tree[2..]);
    std::fs::remove_file(object).expect("removed");
    let reader = Reader::open(&fixture.repo()).expect("opened");
    let error = reader.tree(&id(&fixture.head()), &[]).expect_err("not whole");
    assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
}

#[test]
fn names_that_are_not_utf8_are_told() {
    use std::os::unix::ffi::OsStrExt;
    let fixture = Fixture::new();
    let name = std::ffi::OsStr::from_bytes(b"jobs/\xff.hcl");
    std::fs::write(fixture.repo().join(name), "x").expect("written");
    fixture.commit("jobs/a.hcl", "a");
    let reader = Reader::open(&fixture.repo()).expect("opened");
    let tree = reader.tree(&id(&fixture.head()), &[]).expect("listed");
    assert_eq!(
        (tree.files.len(), tree.skipped.as_slice()),
        (2, ["jobs/\\xff.hcl".into()].as_slice())
    );
    let listed = WorkTree::open(&fixture.repo()).expect("opened").list(&[]).expect("listed");
    assert_eq!((listed.files.len(), listed.skipped.len()), (2, 1));
}

#[test]
fn a_work_tree_lists_the_same_blobs_as_its_commit() {
    let fixture = Fixture::new();
    symlink("web.hcl", fixture.repo().join("jobs/link.hcl")).expect("linked");
    fixture.commit("jobs/eu/api.hcl", "api");
    let reader = Reader::open(&fixture.repo()).expect("opened");
    let committed = reader.tree(&id(&fixture.head()), &[]).expect("listed");
    let tree = WorkTree::open(&fixture.repo()).expect("opened");
    assert_eq!(tree.list(&[]).expect("listed").files, committed.files);
    let below = WorkTree::open(&fixture.repo().join("jobs")).expect("opened");
    assert_eq!((below.prefix.as_str(), below.branch.as_deref()), ("jobs", Some("main")));
    assert_eq!(below.head.expect("a head").as_str(), fixture.head());
}

#[test]
fn linked_work_trees_follow_their_own_head() {
    let fixture = Fixture::new();
    let linked = fixture.dir.path().join("linked");
    fixture.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().expect("UTF-8")]);
    let mut mirror = fixture.mirror(fixture.config_for(linked.to_str().expect("UTF-8")));
    assert_eq!(refresh(&mut mirror).expect("fetched").branch, "side");
    std::fs::write(linked.join("x"), "x").expect("written");
    git_in(&linked, &["add", "-A"]);
    git_in(&linked, &["commit", "-q", "-m", "x"]);
    let seen = refresh(&mut mirror).expect("fetched").commit.id;
    assert_eq!(seen.as_str(), git_in(&linked, &["rev-parse", "HEAD"]));
    assert_ne!(seen.as_str(), fixture.head());
    git_in(&linked, &["checkout", "-q", "--detach"]);
    assert_eq!(refresh(&mut mirror).expect("looked").branch, "HEAD");
}

#[test]
fn packed_references_and_objects_are_read() {
    let fixture = Fixture::new();
    fixture.commit("jobs/a.hcl", "two");
    fixture.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone"]);
    fixture.git(&["pack-refs", "--all"]);
    fixture.git(&["repack", "-adq"]);
    let mut mirror = fixture.mirror(fixture.config());
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), fixture.head());
}

#[test]
fn a_branch_can_become_a_folder_of_branches() {
    let fixture = Fixture::new();
    let mut config = fixture.config();
    fixture.git(&["branch", "release"]);
    config.branch = Some("release".into());
    refresh(&mut fixture.mirror(config.clone())).expect("fetched");
    fixture.git(&["branch", "-D", "-q", "release"]);
    fixture.git(&["branch", "release/1"]);
    config.branch = Some("release/1".into());
    assert_eq!(refresh(&mut fixture.mirror(config)).expect("fetched").branch, "release/1");
}

#[test]
fn shallow_clones_are_refused_with_what_to_do() {
    let fixture = Fixture::new();
    fixture.commit("jobs/a.hcl", "two");
    let url = format!("file://{}", fixture.repo().display());
    let shallow = fixture.dir.path().join("shallow");
    git_in(fixture.dir.path(), &["clone", "-q", "--depth=1", &url, "shallow"]);
    let mut mirror = fixture.mirror(fixture.config_for(shallow.to_str().expect("UTF-8")));
    let error = refresh(&mut mirror).expect_err("refused");
    assert!(error.to_string().contains("--unshallow"), "{error}");
}

#[test]
fn a_damaged_mirror_is_made_anew() {
    let fixture = Fixture::new();
    let mut mirror = fixture.mirror(fixture.config());
    refresh(&mut mirror).expect("fetched");
    let path = mirror.path().to_owned();
    drop(mirror);
    std::fs::remove_dir_all(path.join("objects")).expect("removed");
    let mut mirror = fixture.mirror(fixture.config());
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), fixture.head());
    assert_eq!(files(&mirror).1, "one");
    drop(mirror);
    let mirror = fixture.mirror(fixture.config());
    assert_eq!(mirror.head().expect("remembered").0.id.as_str(), fixture.head());
}

#[test]
fn an_agent_that_was_killed_leaves_no_lock_behind() {
    let fixture = Fixture::new();
    let mut mirror = fixture.mirror(fixture.config());
    refresh(&mut mirror).expect("fetched");
    let path = mirror.path().to_owned();
    drop(mirror);
    let branch = path.join("refs/herder/main.lock");
    for lock in [&branch, &path.join("HEAD.lock")] {
        std::fs::create_dir_all(lock.parent().expect("a folder")).expect("folder");
        std::fs::write(lock, "").expect("written");
    }
    fixture.commit("jobs/a.hcl", "two");
    let mut mirror = fixture.mirror(fixture.config());
    assert_eq!(refresh(&mut mirror).expect("fetched").commit.id.as_str(), fixture.head());
}

#[test]
fn many_fetches_leave_few_packs() {
    let fixture = Fixture::new();
    let mut mirror = fixture.mirror(fixture.config());
    let first = refresh(&mut mirror).expect("fetched").commit.id;
    let tree = fixture.git(&["rev-parse", "HEAD^{tree}"]);
    for number in 0..70 {
        let message = number.to_string();
        let commit = fixture.git(&["commit-tree", &tree, "-p", "HEAD", "-m", &message]);
        fixture.git(&["update-ref", "HEAD", &commit]);
        refresh(&mut mirror).expect("fetched");
    }
    let packs = std::fs::read_dir(mirror.path().join("objects/pack")).expect("listed").count();
    assert!(packs < 30, "{packs} files");
    let reader = Reader::open(mirror.path()).expect("opened");
    let head = mirror.head().expect("a head").0.id;
    assert_eq!(reader.log(None, &head, 100).expect("read").len(), 71);
    assert_eq!(reader.tree(&first, &[]).expect("listed").files.len(), 1);
    git_in(mirror.path(), &["fsck", "--strict"]);
}

#[test]
fn folders_are_listed_without_what_lies_deeper() {
    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.repo().join("jobs/eu")).expect("folders");
    for path in ["all.vars.hcl", "jobs/a.vars.hcl", "jobs/eu/b.vars.hcl"] {
        std::fs::write(fixture.repo().join(path), path).expect("written");
    }
    fixture.git(&["add", "."]);
    fixture.git(&["commit", "-q", "-m", "values"]);
    let reader = Reader::open(&fixture.repo()).expect("opened");
    let head = id(&fixture.head());
    let beside = |folders: &[&str]| {
        let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
        let found = reader.beside(&head, &folders).expect("listed");
        let paths = found.into_iter().map(|file| file.path);
        paths.filter(|path| path.ends_with(".vars.hcl")).collect::<Vec<_>>()
    };
    assert_eq!(beside(&["", "jobs"]), ["all.vars.hcl", "jobs/a.vars.hcl"]);
    assert_eq!(beside(&["jobs/eu", "absent", "all.vars.hcl"]), ["jobs/eu/b.vars.hcl"]);
    let all = reader.tree(&head, &[]).expect("listed");
    let one = reader.beside(&head, &["jobs/eu".to_owned()].into()).expect("listed");
    assert!(all.files.contains(&one[0]));
}
