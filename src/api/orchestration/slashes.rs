//! Jobs whose IDs have slashes, as those of runs do. Clients write them as they are, or as `%2F`; routes know the second.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use tower::ServiceExt;

const JOB: &str = "/v1/job/";

/// What can follow a job's ID in a path.
const ACTIONS: [&str; 8] = [
    "/periodic/force",
    "/allocations",
    "/evaluations",
    "/deployments",
    "/deployment",
    "/summary",
    "/versions",
    "/dispatch",
];

/// The routes, for paths as clients write them.
pub(super) fn joined(routes: Router) -> Router {
    let routes = ServiceExt::<Request>::map_request(routes, |mut request: Request| {
        if let Some(uri) = join(request.uri()) {
            *request.uri_mut() = uri;
        }
        request
    });
    Router::new().fallback_service(routes)
}

fn join(uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix(JOB)?;
    let action = ACTIONS.into_iter().find(|action| rest.ends_with(action)).unwrap_or_default();
    let id = rest.strip_suffix(action).filter(|id| id.contains('/'))?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    let path = format!("{JOB}{}{action}{query}", id.replace('/', "%2F"));
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_of_ids_are_told_from_those_of_paths() {
        let join = |path: &str| join(&path.parse().expect("a path")).map(|uri| uri.to_string());
        for (path, joined) in [
            ("/v1/job/a/b", Some("/v1/job/a%2Fb")),
            ("/v1/job/a/b?x=1", Some("/v1/job/a%2Fb?x=1")),
            ("/v1/job/a/periodic-1/allocations", Some("/v1/job/a%2Fperiodic-1/allocations")),
            ("/v1/job/a/b/periodic/force", Some("/v1/job/a%2Fb/periodic/force")),
            ("/v1/job/a", None),
            ("/v1/job/a%2Fb/summary", None),
            ("/v1/job/a/periodic/force", None),
            ("/v1/job/a/dispatch", None),
            ("/v1/jobs", None),
            ("/v1/allocation/a/b", None),
        ] {
            assert_eq!(join(path).as_deref(), joined, "{path}");
        }
    }
}
