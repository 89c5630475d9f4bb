//! What a job file is read with beside its own text: values for its variables, and where each of them came from.

use std::collections::BTreeMap;

/// What a file's variables are set to, beside its own defaults. Where one is set twice, what stands further down wins;
/// the vars files that are found in the repository stand between [`Self::shell`] and [`Self::variables`].
///
/// A value given as text is taken literally by a variable of type string or number and by one without a type; for any
/// other it is an HCL expression. A variable without a type has that of its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The environment whose vars files (`NAME.<environment>.vars.hcl`) apply beside those of all environments.
    pub environment: Option<String>,
    /// Environment variables named `NOMAD_VAR_<name>` and `HERDER_VAR_<name>`; the latter win. Others are passed over,
    /// and so are names that the file does not declare. An agent leaves this empty: what it reads depends on nobody's
    /// shell.
    pub shell: BTreeMap<String, String>,
    /// Values from the agent's configuration, by the variable's name: text as above, anything else as it is. Names that
    /// a file does not declare are passed over, because one set of inputs serves many files.
    pub variables: BTreeMap<String, serde_json::Value>,
    /// Vars files that somebody named, in their order: path and content. JSON where the path ends in `.json`, else HCL.
    pub files: Vec<(String, Vec<u8>)>,
    /// Values given on the command line, in their order.
    pub flags: Vec<(String, String)>,
    /// Whether a name in `files` and `flags` that the file does not declare is passed over. Otherwise it is an error.
    pub lenient: bool,
    /// Whether the source of each value is wanted, see [`crate::Parsed::explained`].
    pub explain: bool,
    /// Whether everything that Nomad does not have is named, by a warning with the code `extension`.
    pub name_extensions: bool,
}

/// A variable of a file, and where its value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariableSource {
    /// Its name.
    pub name: String,
    /// Its value as JSON; `(sensitive)` for one that is declared so, and empty where there is none.
    pub value: String,
    /// Where the value came from, in words: `default in web.hcl:3`, `prod.vars.hcl:2:1`, `-var`.
    pub from: String,
    /// Where the variable is declared, as `web.hcl:3`.
    pub declared: String,
    /// Whether its value must not be shown.
    pub sensitive: bool,
}
