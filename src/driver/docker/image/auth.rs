//! Logins for registries: from the job file, from a `config.json` of the Docker client, or from a helper program.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::docker::config::Auth;

/// The largest `config.json` that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// The most that a helper may say, and how long it may take.
const MAX_ANSWER: u64 = 64 * 1024;
const HELPER_LIMIT: Duration = Duration::from_secs(10);

/// What Docker calls its own registry.
const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// A login, and where it was found.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
    /// In place of name and password.
    pub(super) identity_token: String,
    pub(super) server: String,
    /// In words.
    pub(super) from: String,
    /// Whether it stands in the job file, so that only another commit changes it.
    pub(super) is_of_file: bool,
}

/// Without password and token.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({} from {})", self.username, self.from)
    }
}

/// The login for an image's registry; `None` where nobody knows one. Errors are in words and hold no secret.
pub(super) async fn find(
    image: &str,
    of_file: Option<&Auth>,
    config: Option<&Path>,
    helper: Option<&str>,
) -> Result<Option<Login>, String> {
    if let Some(auth) = of_file {
        return Ok(Some(Login {
            username: auth.username.clone(),
            password: auth.password.clone(),
            identity_token: String::new(),
            server: auth.server.clone(),
            from: "the job file".to_owned(),
            is_of_file: true,
        }));
    }
    if let Some(path) = config
        && let Some(login) = of_config(path, image).await?
    {
        return Ok(Some(login));
    }
    match helper {
        Some(helper) => ask(helper, registry(image)).await,
        None => Ok(None),
    }
}

/// The registry in an image's name.
pub(super) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

async fn of_config(path: &Path, image: &str) -> Result<Option<Login>, String> {
    let failed = |problem: String| format!("the logins in {}: {problem}", path.display());
    let file = tokio::fs::File::open(path).await.map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(format!("the file has more than {MAX_FILE} bytes")));
    }
    // Only where it is wrong: the text around it may be a password.
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| failed(format!("no JSON at line {}", error.line())))?;
    match entry(&value, image).map_err(failed)? {
        Entry::None => Ok(None),
        Entry::Login { username, password, identity_token, key } => Ok(Some(Login {
            username,
            password,
            identity_token,
            server: key,
            from: path.display().to_string(),
            is_of_file: false,
        })),
        Entry::Helper(helper) => ask(&helper, registry(image)).await,
    }
}

/// What a `config.json` says for an image.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    None,
    Login { username: String, password: String, identity_token: String, key: String },
    Helper(String),
}

fn entry(config: &Value, image: &str) -> Result<Entry, String> {
    let host = registry(image);
    let named = config.get("credHelpers").and_then(Value::as_object);
    let named = named.into_iter().flatten().find(|(key, _)| bare(key) == host);
    if let Some(helper) = named.and_then(|(_, helper)| helper.as_str()) {
        return Ok(Entry::Helper(helper.to_owned()));
    }
    // An entry may be for a part of a registry; the most exact one counts.
    let whole = if host == HUB && !image.starts_with("docker.io/") {
        format!("{HUB}/{image}")
    } else {
        image.to_owned()
    };
    let auths = config.get("auths").and_then(Value::as_object);
    let fits =
        |key: &str| whole == key || whole.strip_prefix(key).is_some_and(|r| r.starts_with('/'));
    let best = auths
        .into_iter()
        .flatten()
        .filter(|(key, _)| fits(bare(key)))
        .max_by_key(|(key, _)| bare(key).len());
    if let Some((key, auth)) = best {
        let text = |name: &str| auth.get(name).and_then(Value::as_str).unwrap_or_default();
        let (mut username, mut password) =
            (text("username").to_owned(), text("password").to_owned());
        if !text("auth").is_empty() {
            let pair = STANDARD.decode(text("auth")).ok().and_then(|b| String::from_utf8(b).ok());
            let pair = pair.ok_or_else(|| format!("`auth` of {key} is not base64"))?;
            let (name, word) = pair
                .split_once(':')
                .ok_or_else(|| format!("`auth` of {key} holds no name and password"))?;
            (username, password) = (name.to_owned(), word.trim_end_matches('\0').to_owned());
        }
        let identity_token = text("identitytoken").to_owned();
        if !username.is_empty() || !identity_token.is_empty() {
            return Ok(Entry::Login { username, password, identity_token, key: key.clone() });
        }
    }
    let store = config.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty());
    Ok(store.map_or(Entry::None, |store| Entry::Helper(store.to_owned())))
}

/// A key without scheme and API version; Docker's own registry under its short name.
fn bare(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    if matches!(key, "index.docker.io" | "registry-1.docker.io") { HUB } else { key }
}

/// Asks `docker-credential-NAME`. No shell is between; the registry goes to its standard input.
async fn ask(helper: &str, host: &str) -> Result<Option<Login>, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if helper.is_empty() || helper.starts_with(['-', '.']) || !helper.chars().all(is_plain) {
        return Err("the name of a credential helper has letters, digits, `-`, `_` and `.`".into());
    }
    let program = format!("docker-credential-{helper}");
    let server = if host == HUB { HUB_KEY } else { host };
    let work = run(&program, server);
    let (success, answer) = tokio::time::timeout(HELPER_LIMIT, work)
        .await
        .map_err(|_| format!("{program} took longer than {} s", HELPER_LIMIT.as_secs()))?
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if answer.len() as u64 > MAX_ANSWER {
        return Err(format!("{program} said more than {MAX_ANSWER} bytes"));
    }
    if !success {
        // The one sentence that helpers agree on. Anything else they say could hold what it should not.
        return match String::from_utf8_lossy(&answer).contains("credentials not found") {
            true => Ok(None),
            false => Err(format!("{program} failed for {server}")),
        };
    }
    let value: Value = serde_json::from_slice(&answer)
        .map_err(|_| format!("{program} did not answer with JSON"))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (username, secret) = (text("Username"), text("Secret"));
    if secret.is_empty() {
        return Ok(None);
    }
    let is_token = username == "<token>";
    let (password, identity_token) =
        if is_token { (String::new(), secret) } else { (secret, String::new()) };
    Ok(Some(Login {
        username: if is_token { String::new() } else { username },
        password,
        identity_token,
        server: server.to_owned(),
        from: program,
        is_of_file: false,
    }))
}

async fn run(program: &str, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read is told apart by what it answers.
        let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER + 1).read_to_end(&mut answer).await?;
    }
    if answer.len() as u64 > MAX_ANSWER {
        child.start_kill()?;
    }
    Ok((child.wait().await?.success(), answer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn registries_are_found_in_names() {
        for (image, host) in [
            ("redis", "docker.io"),
            ("library/redis:7", "docker.io"),
            ("ghcr.io/a/b", "ghcr.io"),
            ("localhost/a", "localhost"),
            ("127.0.0.1:5000/a:1", "127.0.0.1:5000"),
        ] {
            assert_eq!(registry(image), host, "{image}");
        }
    }

    #[test]
    fn the_most_exact_entry_counts() {
        let auth = |text: &str| json!({"auth": STANDARD.encode(text)});
        let config = json!({
            "auths": {
                "https://index.docker.io/v1/": auth("hub:one"),
                "quay.io": auth("all:two"),
                "quay.io/team": auth("team:a:b"),
                "broken.io": {"auth": "!!"},
                "token.io": {"identitytoken": "t"},
                "empty.io": {},
            },
            "credHelpers": {"ecr.io": "ecr-login"},
            "credsStore": "store",
        });
        let name = |image: &str| match entry(&config, image) {
            Ok(Entry::Login { username, password, identity_token, .. }) => {
                format!("{username}/{password}/{identity_token}")
            }
            Ok(Entry::Helper(helper)) => helper,
            Ok(Entry::None) => "none".to_owned(),
            Err(problem) => problem,
        };
        assert_eq!(name("redis:7"), "hub/one/");
        assert_eq!(name("docker.io/library/redis"), "hub/one/");
        assert_eq!(name("quay.io/other/x"), "all/two/");
        assert_eq!(name("quay.io/team/x:1"), "team/a:b/");
        assert_eq!(name("quay.io/teamwork/x:1"), "all/two/");
        assert_eq!(name("token.io/x"), "//t");
        assert_eq!(name("ecr.io/x"), "ecr-login");
        assert_eq!(name("empty.io/x"), "store");
        assert_eq!(name("broken.io/x"), "`auth` of broken.io is not base64");
    }

    #[tokio::test]
    async fn helpers_are_programs_and_not_commands() {
        for name in ["", "a b", "../x", "x;y", "-x", "$(x)"] {
            assert!(ask(name, "r").await.is_err(), "{name}");
        }
        let problem = ask("herder-none", "r").await.expect_err("is not there");
        assert!(problem.contains("docker-credential-herder-none cannot be run"), "{problem}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let login = Login {
            username: "u".into(),
            password: "hunter2".into(),
            identity_token: "hunter3".into(),
            server: String::new(),
            from: "x".into(),
            is_of_file: false,
        };
        assert_eq!(format!("{login:?}"), "Login(u from x)");
    }
}
