//! Images from a registry: logins, digests, and what goes wrong on the way.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driver::{Docker, DockerOptions, Driver, DriverError};
use serde_json::{Value, json};

use crate::place::{Host, LIMIT, Place, container, has_program, missing};

/// `ann` with the password `hunter2`, as a registry keeps it and as a client does.
const HASHED: &str = "ann:$2a$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";
const ENCODED: &str = "YW5uOmh1bnRlcjI=";

/// A registry that wants a login.
pub(crate) struct Registry {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: String,
    process: Child,
}

impl Registry {
    pub(crate) fn start() -> Option<Self> {
        if !has_program("docker-registry") {
            missing("`docker-registry`");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let address = format!("127.0.0.1:{}", port.port());
        let at = |name: &str| dir.path().join(name);
        fs::write(at("users"), HASHED).expect("writes");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '{address}'}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            at("data").display(),
            at("users").display(),
        );
        fs::write(at("config.yml"), config).expect("writes");
        let logins = json!({"auths": {&address: {"auth": ENCODED}}}).to_string();
        fs::write(at("config.json"), logins).expect("writes");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        let registry = Self { dir, address, process };
        let begin = Instant::now();
        while std::net::TcpStream::connect(&registry.address).is_err() {
            assert!(begin.elapsed() < LIMIT, "the registry answers");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// Brings an image there that this machine does not have itself. Returns its name.
    pub(crate) fn image(&self, host: &Host, name: &str) -> String {
        let image = format!("{}/{name}", self.address);
        host.import(&image, &image);
        let mut push = Command::new("docker");
        push.arg("--config").arg(self.dir.path());
        push.arg("-H").arg(format!("unix://{}", host.socket.display())).args(["push", &image]);
        let pushed = push.output().expect("runs");
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        host.says(&["rmi", &image]);
        image
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn runs(image: &str, more: Value) -> Value {
    let mut config = json!({"image": image, "command": "/bin/true", "network_mode": "none"});
    for (key, value) in more.as_object().expect("a map") {
        config[key] = value.clone();
    }
    config
}

fn login(password: &str) -> Value {
    json!({"auth": {"username": "ann", "password": password}})
}

#[tokio::test]
async fn logins_are_taken_from_where_they_are() {
    let (Some(host), Some(registry)) = (Host::docker(), Registry::start()) else { return };
    let image = registry.image(&host, "login:1");
    let place = Place::new(&host);
    let driver = place.driver();
    let error = driver.start(&place.spec(runs(&image, json!({})))).await.expect_err("no login");
    assert!(error.to_string().contains("wants a login"), "{error}");
    assert!(!error.is_recoverable(), "{error}");
    let wrong = place.spec(runs(&image, login("swordfish")));
    let error = driver.start(&wrong).await.expect_err("a wrong password");
    assert!(error.to_string().contains("refuses the login of ann from the job file"), "{error}");
    assert!(!error.is_recoverable() && !error.to_string().contains("swordfish"), "{error}");
    assert!(!place.progress().contains("swordfish"));
    // A soft failure is one still where the registry insists.
    let mut soft = runs(&image, login("swordfish"));
    soft["auth_soft_fail"] = json!(true);
    assert!(driver.start(&place.spec(soft)).await.is_err());

    let handle = driver.start(&place.spec(runs(&image, login("hunter2")))).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
    let said = place.progress();
    assert!(said.contains(&format!("Driver: Downloading image {image}")), "{said}");
    assert!(said.contains(&format!("Driver: Pulled image {image} in ")), "{said}");
    // What really ran is kept.
    let made_of = host.inspect(&container(&handle))["Image"].clone();
    assert_eq!(handle.state["image"], made_of);
    let digest = handle.state["digest"].as_str().expect("text").to_owned();
    assert!(digest.starts_with(&format!("{}/login@sha256:", registry.address)), "{digest}");
    driver.destroy(&handle).await.expect("removes");
    host.says(&["rmi", &image]);

    // From a file of the node, by its digest, which is then never asked for again.
    let options = DockerOptions {
        auth_config: Some(registry.dir.path().join("config.json")),
        ..place.options()
    };
    let driver = Docker::new(options);
    let exact = place.spec(runs(&digest, json!({"force_pull": true})));
    let handle = driver.start(&exact).await.expect("starts");
    assert_eq!(handle.state["image"], made_of);
    driver.destroy(&handle).await.expect("removes");
    drop(registry);
    let handle = driver.start(&exact).await.expect("starts without a registry");
    driver.destroy(&handle).await.expect("removes");
    host.says(&["rmi", &digest]);
}

#[tokio::test]
async fn a_missing_tag_is_not_tried_again() {
    let (Some(host), Some(registry)) = (Host::docker(), Registry::start()) else { return };
    let image = registry.image(&host, "there:1");
    let place = Place::new(&host);
    let missing = format!("{}/there:2", registry.address);
    let task = place.spec(runs(&missing, login("hunter2")));
    let error = place.driver().start(&task).await.expect_err("no such tag");
    assert!(matches!(&error, DriverError::StartNever(_)), "{error}");
    assert!(error.to_string().contains(&missing), "{error}");
    assert!(!host.exists(&image));
}

#[tokio::test]
async fn a_registry_that_hangs_is_given_up() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let options =
        DockerOptions { pull_activity_timeout: Duration::from_secs(1), ..place.options() };
    let driver = Docker::new(options);
    let task = place.spec(runs(&format!("{address}/x:1"), json!({})));
    let begin = Instant::now();
    let error = driver.start(&task).await.expect_err("no image");
    assert!(begin.elapsed() < LIMIT, "it is given up");
    let words = format!("the registry {address} has sent nothing for 1s");
    assert!(error.to_string().contains(&words), "{error}");
    assert!(error.is_recoverable(), "{error}");
    // The whole has a limit as well, and may be given up from outside.
    let mut short = runs(&format!("{address}/y:1"), json!({"image_pull_timeout": "500ms"}));
    let driver = place.driver();
    let error = driver.start(&place.spec(short.clone())).await.expect_err("no image");
    assert!(error.to_string().contains("took longer than 500ms"), "{error}");
    short["image_pull_timeout"] = json!("1h");
    let task = place.spec(short);
    let given_up = tokio::time::timeout(Duration::from_millis(300), driver.start(&task)).await;
    assert!(given_up.is_err(), "it hangs");
    // Nothing is held up by it.
    let handle = driver.start(&place.script("true")).await.expect("starts");
    driver.destroy(&handle).await.expect("removes");
}

/// The helper has to be in `PATH`, which a test cannot change for itself: it runs in a process of its own.
#[test]
fn a_helper_is_asked() {
    let (Some(host), Some(registry)) = (Host::docker(), Registry::start()) else { return };
    let image = registry.image(&host, "helper:1");
    let helper = registry.dir.path().join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\nread -r server\n[ \"$1 $server\" = \"get {}\" ] || exit 1\n\
         echo '{{\"Username\": \"ann\", \"Secret\": \"hunter2\"}}'\n",
        registry.address,
    );
    let written = registry.dir.path().join("helper");
    fs::write(&written, script).expect("writes");
    // By another process: what a test running beside this one forks may hold a file open that was written here.
    let install = Command::new("install").args(["-m", "755"]).args([&written, &helper]).status();
    assert!(install.expect("install runs").success());
    let path = format!("{}:{}", registry.dir.path().display(), std::env::var("PATH").expect("set"));
    let ran = Command::new(std::env::current_exe().expect("known"))
        .args(["--exact", "registry::with_a_helper", "--ignored", "--nocapture"])
        .env("PATH", path)
        .env("HERDER_TEST_IMAGE", &image)
        .output()
        .expect("runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    assert!(host.exists(&image), "it was pulled");
    host.says(&["rmi", &image]);
}

#[tokio::test]
#[ignore = "a part of `a_helper_is_asked`"]
async fn with_a_helper() {
    let Ok(image) = std::env::var("HERDER_TEST_IMAGE") else { return };
    let host = Host::docker().expect("is there");
    let place = Place::new(&host);
    let options = DockerOptions { auth_helper: Some("none-such".into()), ..place.options() };
    let error = Docker::new(options).start(&place.spec(runs(&image, json!({})))).await;
    let error = error.expect_err("no helper").to_string();
    assert!(error.contains("docker-credential-none-such cannot be run"), "{error}");
    let options = DockerOptions { auth_helper: Some("test".into()), ..place.options() };
    let driver = Docker::new(options);
    let handle = driver.start(&place.spec(runs(&image, json!({})))).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
    driver.destroy(&handle).await.expect("removes");
}

#[tokio::test]
async fn an_archive_brings_its_image() {
    let Some(host) = Host::docker() else { return };
    let place = Place::new(&host);
    let driver = place.driver();
    let image =
        format!("localhost/herder-test/{}:1", place.instance().trim_matches('.').to_lowercase());
    host.import(&image, &image);
    let archive = place.path().join("web/local/image.tar");
    host.says(&["save", "-o", &archive.to_string_lossy(), &image]);
    host.says(&["rmi", &image]);
    std::os::unix::fs::symlink("image.tar", archive.with_file_name("link.tar")).expect("links");
    for (load, words) in [
        ("link.tar", "goes through a link"),
        ("../../x", "has to be in the task's `local` directory"),
        ("none.tar", "cannot be loaded"),
    ] {
        let task = place.spec(runs(&image, json!({"load": load})));
        let error = driver.start(&task).await.expect_err("no archive");
        assert!(error.to_string().contains(words), "{error}");
    }
    let task = place.spec(runs(&image, json!({"load": "image.tar"})));
    let handle = driver.start(&task).await.expect("starts");
    assert!(driver.wait(&handle).await.expect("ends").is_success());
    driver.destroy(&handle).await.expect("removes");
    let other = place.spec(runs("localhost/herder-test/other:1", json!({"load": "image.tar"})));
    let error = driver.start(&other).await.expect_err("another image");
    assert!(error.to_string().contains("does not hold the image"), "{error}");
    host.says(&["rmi", &image]);
}
