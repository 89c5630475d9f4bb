//! `yamlencode` and `yamldecode`.

mod read;
mod write;

use super::Function;
use crate::expr::cty::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("yamlencode", 1, 1, |a| Ok(Value::text(write::document(a.value(0))))),
    Function("yamldecode", 1, 1, |a| {
        read::document(&a.text(0)?).map_err(|why| format!("this is not YAML: {why}"))
    }),
];
