//! What a request asks for beside its path.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use tokio_util::sync::CancellationToken;

use crate::refusal::Refusal;

/// Set on each request by the server: cancelled when the agent stops, so that waits end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopping(pub(crate) CancellationToken);

/// The query's parameters, in order, and the end of waiting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    params: Vec<(String, String)>,
    pub(crate) stopping: Stopping,
}

impl Ask {
    #[cfg(test)]
    pub(crate) fn of(params: &[(&str, &str)]) -> Self {
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { params, ..Self::default() }
    }

    /// The first value of a parameter; empty for one without a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// As [`Ask::get`], but none when it is empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.params.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: there without a value, or with a true one as Go reads it.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(Refusal::invalid(format!("Invalid value for ?{name}"))),
        }
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.filled(name)
            .map(|text| {
                text.parse().map_err(|_| Refusal::invalid(format!("Invalid value for ?{name}")))
            })
            .transpose()
    }

    /// Whether the answer is for a person's eye.
    pub(crate) fn pretty(&self) -> bool {
        self.get("pretty").is_some_and(|value| !matches!(value, "0" | "false"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ask {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let params = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Refusal::invalid("the query string cannot be read"))?
            .0;
        let stopping = parts.extensions.get::<Stopping>().cloned().unwrap_or_default();
        Ok(Self { params, stopping })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_as_go_reads_them() {
        let ask = Ask::of(&[("passing", ""), ("stale", "1"), ("x", "false"), ("y", "maybe")]);
        assert_eq!(ask.switch("passing"), Ok(true));
        assert_eq!(ask.switch("stale"), Ok(true));
        assert_eq!(ask.switch("x"), Ok(false));
        assert_eq!(ask.switch("absent"), Ok(false));
        assert_eq!(ask.switch("y"), Err(Refusal::invalid("Invalid value for ?y")));
    }

    #[test]
    fn values_may_repeat() {
        let ask = Ask::of(&[("tag", "a"), ("tag", "b"), ("empty", "")]);
        assert_eq!(ask.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(ask.filled("empty"), None);
    }
}
