//! Where a group may run, and where it would rather.

use serde::{Deserialize, Serialize};

use crate::nullable;

/// A condition that a node must meet. Operands as in Nomad (`=`, `!=`, `<`, `regexp`, `version`, `distinct_hosts` …).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Constraint {
    /// The attribute, as `${attr.kernel.name}`.
    #[serde(rename = "LTarget")]
    pub attribute: String,
    /// The value to compare with.
    #[serde(rename = "RTarget")]
    pub value: String,
    /// The operator.
    #[serde(rename = "Operand")]
    pub operator: String,
}

impl Constraint {
    /// Brings constraints into one order and one form.
    pub(crate) fn leave_meaning(all: &mut [Self]) {
        for one in all.iter_mut() {
            if one.operator == "distinct_hosts" && one.value == "true" {
                one.value.clear();
            }
        }
        all.sort();
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.attribute.as_str(), self.value.as_str()) {
            ("", "") => f.write_str(&self.operator),
            (attribute, "") => write!(f, "{attribute} {}", self.operator),
            ("", value) => write!(f, "{} {value}", self.operator),
            (attribute, value) => write!(f, "{attribute} {} {value}", self.operator),
        }
    }
}

/// A condition that a node had better meet, or, with a negative weight, had better not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Affinity {
    /// The attribute, as `${attr.kernel.name}`.
    #[serde(rename = "LTarget")]
    pub attribute: String,
    /// The value to compare with.
    #[serde(rename = "RTarget")]
    pub value: String,
    /// The operator.
    #[serde(rename = "Operand")]
    pub operator: String,
    /// −100 to 100 without 0; 50 by default.
    pub weight: i8,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            attribute: String::new(),
            value: String::new(),
            operator: "=".to_owned(),
            weight: 50,
        }
    }
}

/// Spreads a group's allocations over the values of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Spread {
    /// The attribute, as `${node.datacenter}`.
    pub attribute: String,
    /// 1 to 100; 50 by default.
    pub weight: i8,
    /// The shares of single values; evenly where there is none.
    #[serde(rename = "SpreadTarget", with = "nullable")]
    pub targets: Vec<SpreadTarget>,
}

impl Default for Spread {
    fn default() -> Self {
        Self { attribute: String::new(), weight: 50, targets: Vec::new() }
    }
}

/// The share of one value of a spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SpreadTarget {
    /// The value.
    pub value: String,
    /// 0 to 100.
    pub percent: u8,
}
