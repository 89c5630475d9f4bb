//! Getting an image.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use super::api::{Api, refusal};
use super::config::Config;
use crate::DriverError;

/// How long a registry is tried when a copy is at hand.
const REFRESH_LIMIT: Duration = Duration::from_secs(60);

/// Sees to it that the image is there. A tag that moves is asked for every time; if the registry cannot be reached, a
/// copy that is at hand will do.
pub(super) async fn ensure(
    api: &Api,
    turns: &Semaphore,
    config: &Config,
) -> Result<(), DriverError> {
    let image = &config.image;
    let at_hand = api.get(&format!("/images/{image}/json")).await?.is_some();
    if at_hand && !config.force_pull && !moves(image) {
        return Ok(());
    }
    let limit = if at_hand { config.pull_timeout.min(REFRESH_LIMIT) } else { config.pull_timeout };
    // Closed never: an error would mean no more than no limit.
    let _turn = turns.acquire().await;
    let pulled = tokio::time::timeout(limit, pull(api, config)).await.unwrap_or_else(|_| {
        Err(DriverError::Timeout { doing: format!("pulling the image {image}"), limit })
    });
    match pulled {
        Err(error) if at_hand => {
            tracing::warn!(image, %error, "using the copy of the image that is at hand");
            Ok(())
        }
        other => other,
    }
}

async fn pull(api: &Api, config: &Config) -> Result<(), DriverError> {
    let image = config.image.as_str();
    let (name, tag) = split(image);
    let options = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
    let credentials = config.auth.as_ref().map(|auth| DockerCredentials {
        username: Some(auth.username.clone()),
        password: Some(auth.password.clone()),
        serveraddress: (!auth.server.is_empty()).then(|| auth.server.clone()),
        ..DockerCredentials::default()
    });
    let client = api.client()?;
    let mut progress = Box::pin(client.create_image(Some(options), None, credentials));
    while let Some(step) = progress.next().await {
        if let Err(error) = step {
            // One line of progress that cannot be read says nothing of the image.
            if matches!(error, bollard::errors::Error::JsonDataError { .. }) {
                continue;
            }
            let (status, said) = refusal(&error);
            let message = format!("the image {image} cannot be pulled: {said}");
            return Err(if is_missing(status, &said) {
                DriverError::StartNever(message)
            } else {
                DriverError::Start(message)
            });
        }
    }
    Ok(())
}

/// Whether the registry knows no such image, which no further attempt changes.
fn is_missing(status: u16, said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    status == 404
        || ["not found", "manifest unknown", "does not exist", "invalid reference format"]
            .iter()
            .any(|words| said.contains(words))
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
    fn a_missing_image_is_told_from_a_missing_network() {
        assert!(is_missing(404, "manifest for x:9 not found: manifest unknown"));
        assert!(is_missing(500, "pull access denied for x, repository does not exist"));
        assert!(!is_missing(500, "dial tcp: lookup registry: no such host"));
        assert!(!is_missing(500, "net/http: TLS handshake timeout"));
    }
}
