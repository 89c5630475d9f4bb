//! `docker` and `podman` with real daemons. Without one the tests are skipped, unless `CI=true`, where that is a failure.

mod access;
mod cleanup;
mod daemon;
mod hardware;
mod lifecycle;
mod place;
mod registry;
mod settings;
