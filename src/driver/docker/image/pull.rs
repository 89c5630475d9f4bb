//! One pull.

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::auth::{self, Login};
use super::split;
use crate::DriverError;
use crate::docker::api::{Api, refusal};
use crate::docker::config::Config;
use crate::docker::options::DockerOptions;

/// Why an image did not come. Holds no secret, and may be told to several tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotPulled {
    pub(super) message: String,
    /// Whether another attempt comes to the same.
    pub(super) never: bool,
}

impl From<NotPulled> for DriverError {
    fn from(error: NotPulled) -> Self {
        if error.never { Self::StartNever(error.message) } else { Self::Start(error.message) }
    }
}

/// What a registry means when it says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It has no such image, which no further attempt changes.
    Missing,
    /// It wants a login, or another one.
    Login,
    /// Anything that may pass.
    Other,
}

/// Pulls the image. Ends when the registry brings nothing new for long; the caller limits the whole.
pub(super) async fn pull(
    api: &Api,
    config: &Config,
    options: &DockerOptions,
) -> Result<(), NotPulled> {
    let image = &config.image;
    let found = auth::find(
        image,
        config.auth.as_ref(),
        options.auth_config.as_deref(),
        options.auth_helper.as_deref(),
    );
    let login = match found.await {
        Ok(login) => login,
        Err(problem) if config.auth_soft_fail => {
            tracing::warn!(image, problem, "pulling without a login");
            None
        }
        Err(problem) => {
            return Err(NotPulled {
                message: format!("the image {image} cannot be pulled: {problem}"),
                never: false,
            });
        }
    };
    match attempt(api, image, login.as_ref(), options).await {
        Ok(()) => Ok(()),
        Err((Refusal::Login, said)) if login.is_some() && config.auth_soft_fail => {
            tracing::warn!(image, said, "the login was refused; pulling without");
            attempt(api, image, None, options).await.map_err(|why| told(image, None, why))
        }
        Err(why) => Err(told(image, login.as_ref(), why)),
    }
}

async fn attempt(
    api: &Api,
    image: &str,
    login: Option<&Login>,
    options: &DockerOptions,
) -> Result<(), (Refusal, String)> {
    let (name, tag) = split(image);
    let pull = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let credentials = login.map(|login| DockerCredentials {
        username: filled(&login.username),
        password: filled(&login.password),
        identitytoken: filled(&login.identity_token),
        serveraddress: filled(&login.server),
        ..DockerCredentials::default()
    });
    let client = api.client().map_err(|error| (Refusal::Other, error.to_string()))?;
    let mut progress = Box::pin(client.create_image(Some(pull), None, credentials));
    loop {
        let step = tokio::time::timeout(options.pull_activity_timeout, progress.next()).await;
        let Ok(step) = step else {
            let limit = model::format_duration(options.pull_activity_timeout);
            let registry = auth::registry(image);
            return Err((
                Refusal::Other,
                format!("the registry {registry} has sent nothing for {limit}"),
            ));
        };
        match step {
            None => return Ok(()),
            // One line of progress that cannot be read says nothing of the image.
            Some(Ok(_) | Err(bollard::errors::Error::JsonDataError { .. })) => {}
            Some(Err(error)) => {
                let (status, said) = refusal(&error);
                let said = without_secrets(said, login);
                return Err((meant(status, &said), said));
            }
        }
    }
}

/// The daemon repeats what it was told, now and then.
fn without_secrets(said: String, login: Option<&Login>) -> String {
    let Some(login) = login else { return said };
    [&login.password, &login.identity_token]
        .into_iter()
        .filter(|secret| secret.len() > 3)
        .fold(said, |said, secret| said.replace(secret.as_str(), "…"))
}

fn told(image: &str, login: Option<&Login>, (refusal, said): (Refusal, String)) -> NotPulled {
    let registry = auth::registry(image);
    match (refusal, login) {
        (Refusal::Login, Some(login)) => NotPulled {
            message: format!(
                "the image {image} cannot be pulled: the registry {registry} refuses the login of \
                 {} from {}: {said}",
                if login.username.is_empty() { "a token" } else { &login.username },
                login.from,
            ),
            // A helper or a file of the node may know better next time.
            never: login.is_of_file,
        },
        (Refusal::Login, None) => NotPulled {
            message: format!(
                "the image {image} cannot be pulled: the registry {registry} wants a login; write \
                 an `auth` block or set one up on the node: {said}"
            ),
            never: true,
        },
        (refusal, _) => NotPulled {
            message: format!("the image {image} cannot be pulled: {said}"),
            never: refusal == Refusal::Missing,
        },
    }
}

fn meant(status: u16, said: &str) -> Refusal {
    let said = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|words| said.contains(words));
    // Docker Hub says both in one sentence, of images that are not there.
    if has(&["manifest unknown", "does not exist", "invalid reference format", "not found"]) {
        return Refusal::Missing;
    }
    if has(&[
        "unauthorized",
        "authentication required",
        "no basic auth",
        "incorrect username or password",
        "invalid username/password",
        "access denied",
        "access to the resource is denied",
    ]) {
        return Refusal::Login;
    }
    if status == 404 { Refusal::Missing } else { Refusal::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_image_a_login_and_a_broken_network_are_told_apart() {
        for (status, said, refusal) in [
            (404, "manifest for x:9 not found: manifest unknown", Refusal::Missing),
            (500, "pull access denied for x, repository does not exist or …", Refusal::Missing),
            (404, "", Refusal::Missing),
            (500, "Get \"http://r/v2/\": unauthorized: authentication required", Refusal::Login),
            (500, "Head \"http://r/v2/x\": no basic auth credentials", Refusal::Login),
            (500, "dial tcp: lookup registry: no such host", Refusal::Other),
            (500, "net/http: TLS handshake timeout", Refusal::Other),
        ] {
            assert_eq!(meant(status, said), refusal, "{said}");
        }
    }

    #[test]
    fn a_refused_login_is_named_and_its_password_is_not() {
        let mut login = Login {
            username: "ann".into(),
            password: "hunter2".into(),
            identity_token: String::new(),
            server: String::new(),
            from: "the job file".into(),
            is_of_file: true,
        };
        let said = without_secrets("unauthorized: hunter2 is wrong".into(), Some(&login));
        let error = told("r.io/x", Some(&login), (Refusal::Login, said.clone()));
        assert!(
            error.never && error.message.contains("login of ann from the job file"),
            "{error:?}"
        );
        assert!(!error.message.contains("hunter2"), "{error:?}");
        login.is_of_file = false;
        assert!(!told("r.io/x", Some(&login), (Refusal::Login, said.clone())).never);
        assert!(told("r.io/x", None, (Refusal::Login, said)).never);
    }
}
