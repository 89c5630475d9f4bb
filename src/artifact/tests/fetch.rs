//! Downloads with real children and local servers. This binary has its own `main`, because it is also the child that
//! fetches, and an agent that dies.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use artifact::{
    AddressRules, Download, FETCH_ARG, FetchError, Fetched, Limits, Mode, Options, fetch,
};

#[path = "fetch/archives.rs"]
mod archives;
#[path = "fetch/repositories.rs"]
mod repositories;
#[path = "fetch/server.rs"]
mod server;

use server::{Answer, Server};

/// Fetches what hangs, as an agent that is going to be killed.
const DYING_AGENT: &str = "dying-agent";
/// Is found nowhere it does not belong.
const CANARY: &str = "canary-7f3a9b";

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("a_file_arrives_with_its_headers", || run(a_file_arrives())),
    ("the_child_has_given_everything_up", || run(the_child_has_given_everything_up())),
    ("checksums_are_checked", || run(checksums_are_checked())),
    ("a_download_that_breaks_off_is_no_download", || run(a_broken_download_is_told())),
    ("a_slow_server_is_given_up", || run(a_slow_server_is_given_up())),
    ("what_is_too_large_is_refused", || run(what_is_too_large_is_refused())),
    ("headers_do_not_follow_to_another_host", || run(headers_stay())),
    ("redirects_obey_the_rules", || run(redirects_obey_the_rules())),
    ("https_needs_a_certificate_that_is_trusted", || run(https_needs_trust())),
    ("addresses_of_the_node_are_refused", || run(addresses_are_refused())),
    ("secrets_are_in_no_error", || run(secrets_are_in_no_error())),
    ("dropping_it_ends_the_child", || run(dropping_it_ends_the_child())),
    ("an_agent_that_is_killed_takes_the_child_with_it", || {
        run(a_killed_agent_takes_the_child_along())
    }),
    ("a_file_gets_the_name_it_is_given", || run(a_file_gets_its_name())),
    ("archives_are_unpacked", || run(archives::are_unpacked())),
    ("archives_do_not_escape", || run(archives::do_not_escape())),
    ("a_link_at_the_destination_is_not_followed", || {
        run(archives::a_planted_link_is_not_followed())
    }),
    ("objects_are_signed_for", || run(objects_are_signed_for())),
    ("only_the_named_variables_are_passed_on", || run(only_named_variables())),
    ("repositories_are_fetched", || run(repositories::are_fetched())),
    ("repositories_do_not_escape", || run(repositories::do_not_escape())),
];

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let first = args.nth(1);
    match first.as_ref().and_then(|arg| arg.to_str()) {
        Some(FETCH_ARG) => return artifact::fetch_main(),
        Some(DYING_AGENT) => {
            let (source, root) = (args.next().expect("a source"), args.next().expect("a root"));
            let download = download(&source.to_string_lossy(), Path::new(&root));
            run(async { drop(fetch(&options(), &download, &|_| ()).await) });
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let list = std::env::args().any(|arg| arg == "--list");
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        let begin = Instant::now();
        let fine = std::panic::catch_unwind(case).is_ok();
        let word = if fine { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({} ms)", begin.elapsed().as_millis());
        if fine { passed += 1 } else { failed += 1 }
    }
    if !list {
        println!("fetch: {passed} passed, {failed} failed");
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), case).await };
    runtime.expect("a runtime").block_on(limited).expect("the case ends in time");
}

/// An allocation's folder with one task, reachable for whoever the child becomes.
fn place() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("opens");
    for folder in ["alloc/logs", "web/local", "web/private", "web/secrets"] {
        fs::create_dir_all(root.path().join(folder)).expect("makes");
    }
    fs::set_permissions(root.path().join("web/private"), fs::Permissions::from_mode(0o700))
        .expect("closes");
    root
}

fn options() -> Options {
    let rules = AddressRules::new(&["127.0.0.0/8".into(), "::1".into()], &[]).expect("rules");
    Options { rules, ..Options::default() }
}

fn download(source: &str, root: &Path) -> Download {
    Download {
        source: source.to_owned(),
        options: BTreeMap::new(),
        headers: BTreeMap::new(),
        mode: Mode::Any,
        insecure: false,
        destination: String::new(),
        owner: None,
        root: root.to_owned(),
        task: "web".to_owned(),
    }
}

async fn get(source: &str, root: &Path) -> Result<Fetched, FetchError> {
    fetch(&options(), &download(source, root), &|_| ()).await
}

async fn with(download: &Download, key: &str, value: &str) -> Result<Fetched, FetchError> {
    let mut download = download.clone();
    download.options.insert(key.to_owned(), value.to_owned());
    fetch(&options(), &download, &|_| ()).await
}

fn local(root: &Path, name: &str) -> PathBuf {
    root.join("web/local").join(name)
}

fn read(root: &Path, name: &str) -> String {
    fs::read_to_string(local(root, name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn a_file_arrives() {
    let server = Server::start(|_| Answer::ok("hello"));
    let root = place();
    let mut wanted = download(&server.url("/dir/tool?a=1"), root.path());
    wanted.headers.insert("X-Token".into(), CANARY.into());
    wanted.options.insert("b".into(), "2 3".into());
    let fetched = fetch(&options(), &wanted, &|_| ()).await.expect("a file");
    assert_eq!((fetched.entries, fetched.bytes), (1, 5));
    assert_eq!(read(root.path(), "tool"), "hello");
    let asked = server.asked();
    assert_eq!(asked[0].target, "/dir/tool?a=1&b=2%203");
    assert_eq!(asked[0].header("x-token"), Some(CANARY));
    assert_eq!(fs::read_dir(root.path().join(".artifacts")).expect("lists").count(), 0);
    let again = get(&server.url("/dir/tool"), root.path()).await;
    again.expect("what is there is replaced");
}

/// What `/proc` says of the child of this process that fetches for `root`, while it waits for an answer.
fn child_now() -> Option<(u32, BTreeMap<String, String>)> {
    let me = format!("\t{}", std::process::id());
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let fields: BTreeMap<_, _> = status
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        (fields.get("PPid") == Some(&me)).then_some((pid, fields))
    })
}

async fn the_child_has_given_everything_up() {
    let (tell, told) = std::sync::mpsc::channel();
    let server = Server::start(move |_| {
        let (pid, mut fields) = child_now().expect("a child");
        for name in ["cmdline", "environ", "limits"] {
            let text = fs::read(format!("/proc/{pid}/{name}"))
                .map(|text| String::from_utf8_lossy(&text).replace('\0', " "));
            fields.insert(name.into(), text.unwrap_or_default());
        }
        let sid = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let sid =
            sid.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3).map(str::to_owned));
        fields.insert("leads".into(), (sid == Some(pid.to_string())).to_string());
        tell.send(fields).expect("told");
        Answer::ok("x")
    });
    let root = place();
    let address = server.url("/x").replace("http://", &format!("http://me:{CANARY}@"));
    let mut wanted = download(&address, root.path());
    wanted.headers.insert("X-Token".into(), CANARY.into());
    fetch(&options(), &wanted, &|_| ()).await.expect("a file");
    let fields = told.recv().expect("the child was seen");
    assert!(
        server.asked()[0].header("authorization").is_some_and(|value| value.starts_with("Basic "))
    );
    assert_eq!(fields["NoNewPrivs"].trim(), "1");
    assert_eq!(fields["leads"], "true", "its own session");
    assert!(!fields["cmdline"].contains(CANARY) && fields["cmdline"].contains(FETCH_ARG));
    assert_eq!(fields["environ"].trim(), "", "no environment");
    let core = fields["limits"]
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .expect("a limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    if nix_is_root() {
        assert!(fields["Uid"].split_whitespace().all(|uid| uid == "65534"), "{}", fields["Uid"]);
        assert_eq!(fields["CapEff"].trim(), "0000000000000000");
        assert_eq!(fields["Groups"].trim(), "");
    }
}

fn nix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

async fn checksums_are_checked() {
    let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let server = Server::start(move |asked| match asked.target.as_str() {
        "/sums" => Answer::ok(format!("{}  other\n{sum}  tool\n", "0".repeat(64))),
        _ => Answer::ok("hello"),
    });
    let root = place();
    let wanted = download(&server.url("/tool"), root.path());
    with(&wanted, "checksum", &format!("sha256:{sum}")).await.expect("right");
    with(&wanted, "checksum", "md5:5d41402abc4b2a76b9719d911017c592").await.expect("right");
    with(&wanted, "checksum", &format!("file:{}", server.url("/sums"))).await.expect("in a list");
    fs::remove_file(local(root.path(), "tool")).expect("removed");
    let error =
        with(&wanted, "checksum", &format!("sha256:{}", "0".repeat(64))).await.expect_err("wrong");
    assert!(error.message.contains("checksum is wrong") && !error.recoverable, "{error}");
    assert!(!local(root.path(), "tool").exists());
}

async fn a_broken_download_is_told() {
    let server =
        Server::start(|_| Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf"));
    let root = place();
    let error = get(&server.url("/tool"), root.path()).await.expect_err("broken off");
    assert!(error.message.contains("broke off") && error.recoverable, "{error}");
    assert!(!local(root.path(), "tool").exists());
    let server = Server::start(|_| Answer::status("503 Service Unavailable"));
    let error = get(&server.url("/tool"), root.path()).await.expect_err("no answer");
    assert!(error.message.contains("503") && error.recoverable, "{error}");
    let gone = server.url("/tool");
    drop(server);
    let error = get(&gone, root.path()).await.expect_err("nobody");
    assert!(error.recoverable, "{error}");
}

async fn a_slow_server_is_given_up() {
    let server =
        Server::start(|_| Answer::hangs("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nha"));
    let root = place();
    let mut options = options();
    options.limits.http_read_timeout = Duration::from_millis(500);
    let error = fetch(&options, &download(&server.url("/x"), root.path()), &|_| ())
        .await
        .expect_err("slow");
    assert!(
        error.message.contains("took longer than 500ms (http_read_timeout)") && error.recoverable,
        "{error}"
    );
}

async fn what_is_too_large_is_refused() {
    let server = Server::start(|asked| match asked.target.as_str() {
        "/announced" => Answer::ok("x".repeat(2000)),
        // Without a length, and without an end either.
        _ => Answer::raw(format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}",
            "x".repeat(1 << 20)
        )),
    });
    let root = place();
    let options =
        Options { limits: Limits { http_max_bytes: 1000, ..Limits::default() }, ..options() };
    for path in ["/announced", "/endless"] {
        let error = fetch(&options, &download(&server.url(path), root.path()), &|_| ())
            .await
            .expect_err("large");
        assert!(error.message.contains("larger than 1000 bytes") && !error.recoverable, "{error}");
    }
}

async fn headers_stay() {
    let other = Server::start(|_| Answer::ok("other"));
    let to = other.url("/there").replace("127.0.0.1", "localhost");
    let server = Server::start(move |asked| match asked.target.as_str() {
        "/same" => Answer::redirect("/here"),
        "/away" => Answer::redirect(&to),
        _ => Answer::ok("here"),
    });
    let root = place();
    let address = |path: &str| server.url(path).replace("http://", &format!("http://me:{CANARY}@"));
    for path in ["/same", "/away"] {
        let mut wanted = download(&address(path), root.path());
        wanted.headers.insert("X-Token".into(), CANARY.into());
        fetch(&options(), &wanted, &|_| ()).await.expect("arrives");
    }
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.header("x-token") == Some(CANARY)));
    assert!(asked.iter().all(|asked| asked.header("authorization").is_some()));
    let others = other.asked();
    assert_eq!(others.len(), 1);
    assert!(
        !format!("{:?}", others[0]).contains(CANARY) && others[0].header("authorization").is_none()
    );
}

async fn redirects_obey_the_rules() {
    let server = Server::start(|asked| match asked.target.as_str() {
        "/metadata" => Answer::redirect("http://169.254.169.254/latest/meta-data/"),
        "/file" => Answer::redirect("file:///etc/passwd"),
        _ => Answer::redirect("/circle"),
    });
    let root = place();
    for (path, words) in [
        ("/metadata", "169.254.169.254"),
        ("/file", "neither http nor https"),
        ("/circle", "more than 10 redirects"),
    ] {
        let error = get(&server.url(path), root.path()).await.expect_err("refused");
        assert!(error.message.contains(words) && !error.recoverable, "{error}");
    }
}

async fn https_needs_trust() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("words"), "over TLS").expect("writes");
    let Some(server) = server::over_tls(folder.path()) else { return };
    let root = place();
    let mut wanted = download(&format!("https://{}/words", server.address), root.path());
    let error = fetch(&options(), &wanted, &|_| ()).await.expect_err("nobody vouches for it");
    assert!(error.message.to_lowercase().contains("certificate"), "{error}");
    wanted.insecure = true;
    fetch(&options(), &wanted, &|_| ()).await.expect("any will do");
    assert!(read(root.path(), "words").contains("over TLS"));
}

async fn addresses_are_refused() {
    let server = Server::start(|_| Answer::ok("x"));
    let root = place();
    let port = server.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        "[fe80::1]",
    ] {
        for scheme in ["http://", "git::http://", "s3::http://"] {
            let source = format!("{scheme}{host}:{port}/a/b");
            let asked = fetch(&Options::default(), &download(&source, root.path()), &|_| ()).await;
            let error = asked.expect_err("refused");
            assert!(error.message.contains("refused") && !error.recoverable, "{source}: {error}");
        }
    }
    assert!(server.asked().is_empty(), "nobody was asked");
}

async fn secrets_are_in_no_error() {
    let server = Server::start(|asked| {
        let echo = asked.header("x-token").unwrap_or_default().to_owned();
        Answer::redirect(&format!("gopher://{echo}/{CANARY}"))
    });
    let root = place();
    let address = server
        .url(&format!("/x?token={CANARY}"))
        .replace("http://", &format!("http://me:{CANARY}@"));
    let mut wanted = download(&address, root.path());
    wanted.headers.insert("X-Token".into(), format!("Bearer {CANARY}"));
    let error = fetch(&options(), &wanted, &|_| ()).await.expect_err("refused");
    assert!(!format!("{error:?}{}", wanted.shown()).contains(CANARY), "{error}");
    let mut s3 = download(&format!("s3::{}", server.url("/bucket/key")), root.path());
    s3.options.insert("aws_access_key_id".into(), "AKIA".into());
    s3.options.insert("aws_access_key_secret".into(), CANARY.into());
    let error = fetch(&options(), &s3, &|_| ()).await.expect_err("refused");
    assert!(!error.message.contains(CANARY), "{error}");
    drop(server);
    let error = fetch(&options(), &wanted, &|_| ()).await.expect_err("nobody");
    assert!(!error.message.contains(CANARY), "{error}");
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn dropping_it_ends_the_child() {
    let server = Server::start(|_| Answer::hangs(""));
    let root = place();
    let wanted = download(&server.url("/x"), root.path());
    let options = options();
    let pid = {
        let mut fetching = Box::pin(fetch(&options, &wanted, &|_| ()));
        // On a machine with other tests, strangers may ask at any port.
        let asked = || server.asked().iter().any(|asked| asked.target == "/x");
        tokio::select! {
            ended = &mut fetching => panic!("it hangs, and does not end: {:?}", ended.err()),
            () = until(asked) => {}
        }
        // By a reference, so that it is not dropped, and its child with it, before this looks.
        child_now().expect("a child").0
    };
    until(|| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z"))
    })
    .await;
}

async fn a_killed_agent_takes_the_child_along() {
    let server = Server::start(|_| Answer::hangs(""));
    let root = place();
    let mut agent = Command::new(std::env::current_exe().expect("a path"))
        .args([DYING_AGENT, &server.url("/x")])
        .arg(root.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("starts");
    until(|| !server.asked().is_empty()).await;
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.id()));
    let mut children: Vec<String> =
        children.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if children.is_empty() {
        let parent = format!("\t{}", agent.id());
        let of = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let all = fs::read_dir("/proc")
            .expect("lists")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        children = all.filter(|pid| of(pid).contains(&format!("PPid:{parent}\n"))).collect();
    }
    assert_eq!(children.len(), 1, "{children:?}");
    agent.kill().expect("killed");
    agent.wait().expect("collected");
    until(|| {
        children.iter().all(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z"))
        })
    })
    .await;
    // What it left is in nobody's way.
    drop(server);
    let server = Server::start(|_| Answer::ok("anew"));
    get(&server.url("/x"), root.path()).await.expect("done anew");
    assert_eq!(read(root.path(), "x"), "anew");
}

async fn a_file_gets_its_name() {
    let server = Server::start(|_| Answer::ok("data"));
    let root = place();
    let mut wanted = download(&server.url("/tool-1.2"), root.path());
    wanted.mode = Mode::File;
    fetch(&options(), &wanted, &|_| ()).await.expect("its own");
    assert_eq!(read(root.path(), "tool-1.2"), "data");
    wanted.destination = "local/bin/tool".into();
    fetch(&options(), &wanted, &|_| ()).await.expect("the destination's");
    assert_eq!(read(root.path(), "bin/tool"), "data");
    wanted.mode = Mode::Any;
    wanted.destination = "../alloc/shared".into();
    with(&wanted, "filename", "named").await.expect("the option's");
    assert_eq!(fs::read(root.path().join("alloc/shared/named")).expect("there"), b"data");
    for (name, key) in [("a/b", "filename"), ("..", "filename")] {
        let error = with(&wanted, key, name).await.expect_err("refused");
        assert!(error.message.contains("cannot name a file"), "{error}");
    }
    let error = get(&server.url("/%2e%2e%2fx"), root.path()).await.expect_err("refused");
    assert!(error.message.contains("cannot name a file"), "{error}");
    for destination in ["../../x", "../alloc/logs", "private/x", "../db/local"] {
        wanted.destination = destination.into();
        let error = fetch(&options(), &wanted, &|_| ()).await.expect_err("refused");
        assert!(error.message.contains("destination") && !error.recoverable, "{error}");
    }
    let outside = tempfile::tempdir().expect("a folder");
    symlink(outside.path(), local(root.path(), "way")).expect("a link");
    wanted.destination = "local/way/in".into();
    let error = fetch(&options(), &wanted, &|_| ()).await.expect_err("refused");
    assert!(error.message.contains("a link is not followed"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 0);
}

async fn only_named_variables() {
    let (tell, told) = std::sync::mpsc::channel();
    let server = Server::start(move |_| {
        let (pid, _) = child_now().expect("a child");
        let text = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        tell.send(String::from_utf8_lossy(&text).into_owned()).expect("told");
        Answer::ok("x")
    });
    let root = place();
    let options = Options { environment: vec!["PATH".into(), "NO_SUCH_NAME".into()], ..options() };
    fetch(&options, &download(&server.url("/x"), root.path()), &|_| ()).await.expect("a file");
    let seen = told.recv().expect("seen");
    let names: Vec<_> = seen
        .split_terminator('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["PATH"]);
}

async fn objects_are_signed_for() {
    let server = Server::start(|_| Answer::ok("object"));
    let root = place();
    let source = format!("s3::{}", server.url("/bucket/a%20key"));
    let mut wanted = download(&source, root.path());
    fetch(&options(), &wanted, &|_| ()).await.expect("as anybody");
    wanted.options = [
        ("aws_access_key_id", "AKIA"),
        ("aws_access_key_secret", CANARY),
        ("aws_access_token", "tok"),
        ("region", "here"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    fetch(&options(), &wanted, &|_| ()).await.expect("signed");
    assert_eq!(read(root.path(), "a key"), "object");
    let asked = server.asked();
    assert!(asked[0].header("authorization").is_none());
    let signed = asked[1].header("authorization").expect("signed");
    let begin = "AWS4-HMAC-SHA256 Credential=AKIA/";
    assert!(signed.starts_with(begin) && signed.contains("/here/s3/aws4_request"), "{signed}");
    assert!(
        signed.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token"),
        "{signed}"
    );
    assert_eq!(asked[1].target, "/bucket/a%20key");
    assert!(!format!("{:?}", asked[1]).contains(CANARY));
    server::verify_signature(&asked[1], CANARY);
}
