//! The configuration: the file's text, and what it comes to together with the flags.

mod artifacts;
mod containers;
mod faces;
mod file;
mod fleet;
mod hardware;
mod heads;
mod networks;
mod scheduling;
mod settings;
mod shipping;

pub(crate) use faces::{Speech, speech};
pub(crate) use file::PluginBlock;
pub(crate) use fleet::{Beginning, OwnCertificates};
pub(crate) use heads::HeadsFrom;
pub(crate) use settings::{RepoSettings, Settings};
