//! Renders the templates of job files: Go's template language with the functions of consul-template.
//!
//! ```text
//!  text ──parse──▶ Template ──render(Data, now)──▶ text and what it depends on
//! ```
//!
//! This room is pure: the same text, data and time give the same result. What a template asks for comes from [`Data`],
//! which holds what was fetched before; what is not there yet is named in [`Stopped::Wants`], so that a shell can fetch
//! it and render again. Every text, list, recursion and number of steps has a limit, because templates come from outside:
//! one that never ends is an error and not a hang.
//!
//! What never belongs here: reading files, looking up services or secrets, and where a result is written to.
//!
//! The language is read and run here and not by a library: of those that there are, one drops what follows a stray
//! `{{end}}` without a word, none says where in a template something failed, and none bounds what a template costs.

mod data;
mod env_file;
mod error;
mod functions;
mod lex;
mod limits;
mod names;
mod parse;
mod printf;
mod read;
mod run;
mod scope;
mod tree;
mod value;

pub use data::{Data, Dependency, Found, Nothing, Settings};
pub use env_file::{EnvFileError, parse_env_file};
pub use error::{Stopped, TemplateError};
pub use limits::{MAX_OUTPUT, MAX_SOURCE};
pub use names::{Availability, availability};
pub use run::Rendered;
pub use tree::Template;
pub use value::Value;
