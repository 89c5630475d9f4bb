//! Keeps browsers from changing anything on behalf of a page that is not ours.
//!
//! There are no tokens yet, and the API listens on the operator's own machine: a page on the Internet could send it a
//! form (CSRF), or point its own host name at 127.0.0.1 (DNS rebinding). So a request that changes something must
//! address the agent by an address or a name that is known to be the agent's, and a browser's must come from there.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::refusal::Refusal;

/// A face whose requests are looked at before anything else sees them: what is passed on to other agents must not escape
/// the guard here.
pub fn guarded(router: Router, app: &App) -> Router {
    router.layer(from_fn_with_state(app.clone(), guard))
}

/// Refuses requests that would change something, or read a task's files, and that a foreign page may have made.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    // What a node keeps of its tasks, files and output, is not for pages either; nor is the whole state.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let path = request.uri().path();
    let kept = path.starts_with("/v1/client/") || path == "/v1/operator/snapshot";
    if reads && !kept {
        return next.run(request).await;
    }
    let headers = request.headers();
    // A browser always names the host that it asks.
    if reads && headers.get(header::HOST).is_none() && request.uri().authority().is_none() {
        return next.run(request).await;
    }
    let host = text(headers, header::HOST.as_str())
        .or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let agent = &app.agent;
    let known = |name: &str| {
        [&agent.name, &agent.node.name]
            .into_iter()
            .chain(&agent.hosts)
            .any(|own| own.eq_ignore_ascii_case(name))
    };
    match admit(host, text(headers, "origin"), text(headers, "sec-fetch-site"), known) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Whether a request with these headers may change something. `known` tells the agent's own names.
fn admit(
    host: Option<&str>,
    origin: Option<&str>,
    fetch_site: Option<&str>,
    known: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let Some(host) = host else {
        return Err(Refusal::forbidden(
            "a request that changes something, or reads what tasks keep, needs a Host header",
        ));
    };
    let name = host_name(host);
    let address = name.parse::<std::net::IpAddr>().is_ok();
    if !(address || name.eq_ignore_ascii_case("localhost") || known(name)) {
        return Err(Refusal::forbidden(format!(
            "this agent is not known as `{}`; address it by its IP address, or name the host in its configuration",
            name.chars().take(128).collect::<String>()
        )));
    }
    let foreign_origin = origin.is_some_and(|origin| {
        origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_none_or(|from| !from.eq_ignore_ascii_case(host))
    });
    let foreign_site = fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if foreign_origin || foreign_site {
        return Err(Refusal::forbidden(
            "a web page of another origin may not change anything here, nor read what tasks keep",
        ));
    }
    Ok(())
}

/// A Host header without its port and brackets.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: Option<&str>, origin: Option<&str>, site: Option<&str>) -> bool {
        admit(host, origin, site, |name| name.eq_ignore_ascii_case("n1")).is_ok()
    }

    #[test]
    fn the_agents_own_names_are_admitted() {
        for host in
            ["127.0.0.1:4646", "[::1]:4646", "localhost:4646", "10.0.0.7", "n1:4646", "LOCALHOST"]
        {
            assert!(allowed(Some(host), None, None), "{host}");
        }
        for host in ["evil.example:4646", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert!(!allowed(Some(host), None, None), "{host}");
        }
        assert!(!allowed(None, None, None));
    }

    #[test]
    fn foreign_pages_are_refused() {
        let host = Some("127.0.0.1:4646");
        assert!(allowed(host, Some("http://127.0.0.1:4646"), Some("same-origin")));
        assert!(allowed(host, None, Some("none")));
        for origin in ["http://evil.example", "http://127.0.0.1:8080", "null", "file://"] {
            assert!(!allowed(host, Some(origin), None), "{origin}");
        }
        assert!(!allowed(host, None, Some("cross-site")));
        assert!(!allowed(host, None, Some("same-site")));
    }
}
