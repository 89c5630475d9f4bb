//! Getting an image, and getting rid of it.

mod auth;
mod load;
mod pull;
mod record;
mod sweep;
mod turns;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::api::Api;
use super::config::{Auth, Config};
use super::options::DockerOptions;
use crate::{DriverError, Progress};
use pull::NotPulled;
use sweep::Sweeper;
use turns::Turns;

/// How many images are pulled at once.
const PULLS: usize = 3;

/// How long a registry is tried when a copy is at hand.
const REFRESH_LIMIT: Duration = Duration::from_secs(60);

/// An image that the daemon has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    /// What it is, whatever it is called.
    pub(super) id: String,
    /// What the registry calls exactly this image; empty for one that came from none.
    pub(super) digest: String,
}

impl Image {
    /// Reads `GET /images/<name>/json`.
    fn read(value: &Value, name: &str) -> Self {
        let digests = value.get("RepoDigests").and_then(Value::as_array);
        let mut digests = digests.into_iter().flatten().filter_map(Value::as_str);
        let first = digests.clone().next().unwrap_or_default().to_owned();
        // One image may have come from several registries.
        let own = digests.find(|digest| split(digest).0.ends_with(split(name).0));
        Self {
            id: value.get("Id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            digest: own.map_or(first, str::to_owned),
        }
    }
}

/// The images of the daemon, as far as tasks need them.
#[derive(Debug)]
pub(super) struct Images {
    api: Api,
    turns: Semaphore,
    /// By image and login: what one login may not have another may.
    pulls: Turns<(String, u64), Result<(), NotPulled>>,
    hasher: RandomState,
    pub(super) sweeper: Sweeper,
}

impl Images {
    pub(super) fn new(api: Api, options: &DockerOptions) -> Self {
        Self {
            sweeper: Sweeper::new(api.clone(), options.cleanup.clone()),
            api,
            turns: Semaphore::new(PULLS),
            pulls: Turns::default(),
            hasher: RandomState::new(),
        }
    }

    /// Sees to it that the image is there. A tag that moves is asked for every time; if the registry cannot be reached,
    /// a copy that is at hand will do. A digest means one image for ever, which is never asked for twice.
    pub(super) async fn ensure(
        &self,
        config: &Config,
        options: &DockerOptions,
        local: &Path,
        progress: &Progress,
    ) -> Result<Image, DriverError> {
        let image = &config.image;
        let at_hand = self.inspect(image).await?;
        if let Some(found) = &at_hand
            && (is_exact(image) || (!config.force_pull && !moves(image)))
        {
            return Ok(found.clone());
        }
        let begin = Instant::now();
        let before = self.ids().await?;
        let result = match &config.load {
            Some(path) => {
                progress.say("Driver", format!("Loading image {image} from {path}"));
                load::load(&self.api, config, local, path, options.pull_activity_timeout).await
            }
            None => {
                progress.say("Driver", format!("Downloading image {image}"));
                self.pull(config, options, at_hand.is_some()).await
            }
        };
        match (result, at_hand) {
            (Err(error), Some(found)) if config.load.is_none() => {
                tracing::warn!(image, error = error.message, "using the copy at hand");
                let message =
                    format!("Using the copy of {image} that is at hand: {}", error.message);
                progress.say("Driver", message);
                return Ok(found);
            }
            (Err(error), _) => return Err(error.into()),
            (Ok(()), _) => {}
        }
        let Some(found) = self.inspect(image).await? else {
            let problem = match &config.load {
                Some(path) => format!("the archive {path} does not hold the image {image}"),
                None => format!("the image {image} was pulled and is not there"),
            };
            return Err(match &config.load {
                Some(_) => DriverError::StartNever(problem),
                None => DriverError::Start(problem),
            });
        };
        if !before.contains(&found.id) {
            self.sweeper.ours(&found.id, image);
        }
        let took = Duration::from_millis(u64::try_from(begin.elapsed().as_millis()).unwrap_or(0));
        let verb = if config.load.is_some() { "Loaded" } else { "Pulled" };
        let which = if found.digest.is_empty() { &found.id } else { &found.digest };
        let took = model::format_duration(took);
        progress.say("Driver", format!("{verb} image {image} in {took} ({which})"));
        Ok(found)
    }

    /// Pulls, or waits for whoever is pulling the same.
    async fn pull(
        &self,
        config: &Config,
        options: &DockerOptions,
        at_hand: bool,
    ) -> Result<(), NotPulled> {
        let limit =
            if at_hand { config.pull_timeout.min(REFRESH_LIMIT) } else { config.pull_timeout };
        let auth = config.auth.clone().unwrap_or_default();
        let Auth { username, password, server } = &auth;
        let key = (config.image.clone(), self.hasher.hash_one((username, password, server)));
        let work = async {
            // Never closed: an error would mean no more than no limit.
            let _turn = self.turns.acquire().await;
            let pull = pull::pull(&self.api, config, options);
            tokio::time::timeout(limit, pull).await.unwrap_or_else(|_| {
                let limit = model::format_duration(limit);
                Err(NotPulled {
                    message: format!("pulling the image {} took longer than {limit}", config.image),
                    never: false,
                })
            })
        };
        self.pulls.once(key, work).await
    }

    pub(super) async fn inspect(&self, name: &str) -> Result<Option<Image>, DriverError> {
        let value = self.api.get(&format!("/images/{name}/json")).await?;
        Ok(value.map(|value| Image::read(&value, name)))
    }

    /// All images there are, by id.
    async fn ids(&self) -> Result<HashSet<String>, DriverError> {
        let list = self.api.get("/images/json?all=1").await?.unwrap_or_default();
        let images = list.as_array().into_iter().flatten();
        let ids = images.filter_map(|image| image.get("Id").and_then(Value::as_str));
        Ok(ids.map(str::to_owned).collect())
    }
}

/// Whether the name says by a digest which image it is.
fn is_exact(image: &str) -> bool {
    image.contains('@')
}

/// An image's name and its tag or digest; the tag is `latest` if there is none.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        // A slash after the colon: that was a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// Whether the same name may mean another image tomorrow, as far as the name can tell.
fn moves(image: &str) -> bool {
    split(image).1 == "latest"
}

/// Whether a name can be an image's; it becomes a part of a request's path.
pub(super) fn is_name(image: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+".contains(&byte);
    !image.is_empty() && image.bytes().all(safe) && !image.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (image, parts, moving) in [
            ("redis", ("redis", "latest"), true),
            ("redis:7", ("redis", "7"), false),
            ("localhost:5000/redis", ("localhost:5000/redis", "latest"), true),
            ("localhost:5000/redis:latest", ("localhost:5000/redis", "latest"), true),
            ("redis@sha256:00", ("redis", "sha256:00"), false),
        ] {
            assert_eq!((split(image), moves(image)), (parts, moving), "{image}");
        }
    }

    #[test]
    fn names_are_not_paths() {
        assert!(is_name("ghcr.io/a/b:1.2-x"));
        for image in ["", "a b", "a?x=1", "../../containers", "a#b", "a%2f"] {
            assert!(!is_name(image), "{image}");
        }
    }

    #[test]
    fn an_image_is_known_by_id_and_digest() {
        let value = serde_json::json!({
            "Id": "sha256:11", "RepoDigests": ["other/x@sha256:22", "127.0.0.1:5000/x@sha256:33"],
        });
        let image = Image::read(&value, "127.0.0.1:5000/x:1");
        assert_eq!(
            (image.id.as_str(), image.digest.as_str()),
            ("sha256:11", "127.0.0.1:5000/x@sha256:33")
        );
        assert_eq!(Image::read(&Value::Null, "x"), Image::default());
    }
}
