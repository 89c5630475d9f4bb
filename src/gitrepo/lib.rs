//! Room: gitrepo.
