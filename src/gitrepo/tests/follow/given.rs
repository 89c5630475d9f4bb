//! A mirror whose remote is out of reach, and another one that gives it what it has.

use gitrepo::{Given, Mirror, Reader, TakeError};
use model::CommitId;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, files, refresh};
use crate::http_server::{Mood, Server};

const LIMIT: u64 = 1 << 20;

/// Two mirrors of one remote: one that reads it, and one that soon does not.
struct Two {
    fixture: Fixture,
    near: Mirror,
    far: Mirror,
    _server: Server,
}

impl Two {
    fn new() -> Self {
        let fixture = Fixture::new();
        let server = Server::start(fixture.dir.path(), Mood::Open);
        let open = |name: &str| {
            let config = std::sync::Arc::new(fixture.config_for(&server.url()));
            Mirror::open(config, &fixture.data().join(name)).expect("opened")
        };
        let (mut near, mut far) = (open("near"), open("far"));
        refresh(&mut near).expect("fetched");
        refresh(&mut far).expect("fetched");
        Self { fixture, near, far, _server: server }
    }

    /// A commit that only one of them fetches.
    fn push(&mut self, path: &str, text: &str) -> CommitId {
        let id = self.fixture.commit(path, text);
        refresh(&mut self.near).expect("fetched");
        CommitId::from(id)
    }

    fn given(&self, commit: &CommitId) -> Given {
        let known = Reader::open(self.far.path()).expect("opened").followed().expect("read");
        let reader = Reader::open(self.near.path()).expect("opened");
        let pack = reader.pack(commit, &known, LIMIT).expect("packed");
        let desired = self.far.head().map(|(head, _)| head.id);
        Given { commit: commit.clone(), branch: "main".into(), pack, desired }
    }

    fn take(&mut self, given: &Given) -> Result<(), TakeError> {
        let before = self.far.head();
        let taken = self.far.take(given, &CancellationToken::new());
        assert!(!self.far.path().join("incoming").exists(), "nothing stays aside");
        match &taken {
            Ok(refreshed) => assert_eq!(refreshed.commit.id, given.commit),
            Err(_) => assert_eq!(self.far.head(), before, "the branch stays"),
        }
        taken.map(drop)
    }
}

#[test]
fn what_another_mirror_has_is_as_good_as_fetched() {
    let mut two = Two::new();
    two.push("jobs/api/api.hcl", "one");
    let commit = two.push("jobs/api/api.hcl", "two");
    let given = two.given(&commit);
    two.take(&given).expect("taken");
    assert_eq!(files(&two.far), files(&two.near));
    assert_eq!(two.far.head(), two.near.head());
    let text = Reader::open(two.far.path()).expect("opened");
    let log = text.log(None, &commit, 10).expect("read");
    assert_eq!(log.len(), 3, "with all its history");
    // The remote says the same once it can be read.
    refresh(&mut two.far).expect("fetched");
    // A mirror that never saw the remote takes all of it.
    let config = two.fixture.config_for("https://127.0.0.1:1/fleet.git");
    let mut new =
        Mirror::open(std::sync::Arc::new(config), &two.fixture.data().join("new")).expect("opened");
    let pack = Reader::open(two.near.path()).expect("opened").pack(&commit, &[], LIMIT);
    let given = Given { pack: pack.expect("packed"), desired: None, ..given };
    new.take(&given, &CancellationToken::new()).expect("taken");
    assert_eq!(files(&new), files(&two.near));
}

#[test]
fn what_is_broken_or_not_whole_is_not_taken() {
    let mut two = Two::new();
    let first = two.push("jobs/a.hcl", "one");
    let second = two.push("jobs/a.hcl", "two");
    let whole = two.given(&second);
    let take = |two: &mut Two, given: &Given| {
        let error = two.take(given).expect_err("not to be taken");
        assert!(matches!(error, TakeError::Broken { .. }), "{error}");
    };
    // A bit that fell over, in every part of the pack.
    for at in (0..whole.pack.len()).step_by(7) {
        let mut given = whole.clone();
        given.pack[at] ^= 4;
        take(&mut two, &given);
    }
    for end in [0, 11, whole.pack.len() / 2, whole.pack.len() - 1] {
        let given = Given { pack: whole.pack[..end].to_vec(), ..whole.clone() };
        take(&mut two, &given);
    }
    // Good objects, but those of another commit, or not those that it builds on.
    let pack = two.given(&first).pack;
    take(&mut two, &Given { pack, ..whole.clone() });
    let near = Reader::open(two.near.path()).expect("opened");
    let pack = near.pack(&second, std::slice::from_ref(&first), LIMIT).expect("packed");
    take(&mut two, &Given { pack, ..whole.clone() });
    for commit in ["", "main", &"z".repeat(40)] {
        take(&mut two, &Given { commit: commit.into(), ..whole.clone() });
    }
    two.take(&whole).expect("taken");
}

#[test]
fn an_old_commit_and_another_branch_are_not_taken() {
    let mut two = Two::new();
    let first = two.push("jobs/a.hcl", "one");
    let second = two.push("jobs/a.hcl", "two");
    let (old, new) = (two.given(&first), two.given(&second));
    let other = Given { branch: "feature".into(), ..new.clone() };
    assert!(matches!(two.take(&other), Err(TakeError::Branch { .. })));
    two.take(&new).expect("taken");
    let late = Given { desired: Some(second), ..old };
    assert!(matches!(two.take(&late), Err(TakeError::Old { .. })));
    let strange = Given { desired: Some("a".repeat(40).as_str().into()), ..new };
    assert!(matches!(two.take(&strange), Err(TakeError::Unknown { .. })));
    // A history that was rewritten is one that is taken: what follows from it is decided elsewhere.
    two.fixture.git(&["reset", "-q", "--hard", "HEAD~2"]);
    let rewritten = two.push("jobs/b.hcl", "three");
    let given = two.given(&rewritten);
    two.take(&given).expect("taken");
}

#[test]
fn a_pack_has_a_limit() {
    let mut two = Two::new();
    let noise: String =
        (0..4000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    let commit = two.push("jobs/large.hcl", &noise);
    let near = Reader::open(two.near.path()).expect("opened");
    let error = near.pack(&commit, &[], 1000).expect_err("too large");
    assert!(matches!(error, gitrepo::ReadError::TooLarge { limit: 1000, .. }), "{error}");
    assert!(near.pack(&"b".repeat(40).as_str().into(), &[], 1000).is_err());
}
