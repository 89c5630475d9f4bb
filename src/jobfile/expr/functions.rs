//! The functions of job files: pure, with Nomad's names and meanings.
//!
//! Functions that read files, the clock or chance are named here only to be refused: a job file must mean the same on
//! every node and at every time.

mod collections;
mod encoding;
mod lists;
mod numbers;
mod text;

use super::{Number, Value};
use crate::suggest::did_you_mean;

/// What a function does with its arguments. The message of an error is about the arguments.
type Body = fn(&Args<'_>) -> Result<Value, String>;

/// A function: name, fewest and most arguments, body.
struct Function(&'static str, usize, usize, Body);

/// As many arguments as one likes.
const MANY: usize = usize::MAX;

const TABLES: [&[Function]; 5] = [
    text::FUNCTIONS,
    collections::FUNCTIONS,
    lists::FUNCTIONS,
    numbers::FUNCTIONS,
    encoding::FUNCTIONS,
];

const IMPURE: [&str; 11] = [
    "abspath",
    "basename",
    "bcrypt",
    "dirname",
    "file",
    "filebase64",
    "fileexists",
    "fileset",
    "pathexpand",
    "timestamp",
    "uuidv4",
];

/// Nomad has these, Herder not yet.
const LATER: [&str; 11] = [
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "csvdecode",
    "formatdate",
    "rsadecrypt",
    "timeadd",
    "uuidv5",
    "md5",
    "sha1",
];

/// Why a call failed.
#[derive(Debug)]
pub(super) struct CallFault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: String,
}

/// Calls a function by its name.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, CallFault> {
    let fault = |code, message: String, help: String| CallFault { code, message, help };
    let Some(Function(_, least, most, body)) = find(name) else {
        if IMPURE.contains(&name) {
            return Err(fault(
                "function-not-available",
                format!("the function `{name}` is not available in job files"),
                "a job file must mean the same everywhere and always: write the value itself, or \
                 make it a variable"
                    .to_owned(),
            ));
        }
        if LATER.contains(&name) {
            return Err(fault(
                "function-not-available",
                format!("the function `{name}` is not supported yet"),
                "write the value itself, or make it a variable".to_owned(),
            ));
        }
        let known = TABLES.iter().flat_map(|table| table.iter().map(|function| function.0));
        return Err(fault(
            "unknown-function",
            format!("there is no function `{name}`"),
            did_you_mean(name, known).unwrap_or_default(),
        ));
    };
    if arguments.len() < *least || arguments.len() > *most {
        let wanted = match (*least, *most) {
            (least, MANY) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        let message = format!("{name} takes {wanted} arguments, these are {}", arguments.len());
        return Err(fault("wrong-arguments", message, String::new()));
    }
    if arguments.iter().any(Value::has_failed) {
        return Ok(Value::Failed);
    }
    body(&Args(arguments))
        .map_err(|message| fault("wrong-arguments", format!("{name}: {message}"), String::new()))
}

fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().find_map(|table| table.iter().find(|function| function.0 == name))
}

/// The arguments of a call, read as what the function needs.
struct Args<'a>(&'a [Value]);

impl<'a> Args<'a> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn all(&self) -> &'a [Value] {
        self.0
    }

    fn value(&self, at: usize) -> &'a Value {
        self.0.get(at).unwrap_or(&Value::Null)
    }

    fn wrong<T>(&self, at: usize, needed: &str) -> Result<T, String> {
        Err(format!("argument {} must be {needed}, it is {}", at + 1, self.value(at).kind()))
    }

    fn text(&self, at: usize) -> Result<String, String> {
        match self.value(at).as_text() {
            Some(text) => Ok(text.into_owned()),
            None => self.wrong(at, "a string"),
        }
    }

    fn number(&self, at: usize) -> Result<Number, String> {
        self.value(at).as_number().map_or_else(|| self.wrong(at, "a number"), Ok)
    }

    fn int(&self, at: usize) -> Result<i64, String> {
        self.number(at)?.as_i64().map_or_else(|| self.wrong(at, "a whole number"), Ok)
    }

    /// A whole number from 0.
    fn size(&self, at: usize) -> Result<usize, String> {
        let n = self.int(at)?;
        usize::try_from(n).map_err(|_| format!("argument {} must not be negative", at + 1))
    }

    fn list(&self, at: usize) -> Result<&'a [Value], String> {
        match self.value(at) {
            Value::List(items) => Ok(items),
            _ => self.wrong(at, "a list"),
        }
    }

    fn texts(&self, at: usize) -> Result<Vec<String>, String> {
        self.list(at)?
            .iter()
            .map(|item| {
                item.as_text().map(|text| text.into_owned()).ok_or_else(|| {
                    format!("argument {} must be a list of strings, it has {}", at + 1, item.kind())
                })
            })
            .collect()
    }

    fn object(&self, at: usize) -> Result<&'a std::collections::BTreeMap<String, Value>, String> {
        match self.value(at) {
            Value::Object(items) => Ok(items),
            _ => self.wrong(at, "a map"),
        }
    }
}

fn text_list(texts: impl IntoIterator<Item = impl Into<String>>) -> Value {
    Value::List(texts.into_iter().map(Value::text).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_fault, eval_text};

    #[test]
    fn functions_mean_what_nomads_mean() {
        for (expression, json) in [
            (r#"upper("a${1 + 1}b")"#, r#""A2B""#),
            (r#"title("hello big world")"#, r#""Hello Big World""#),
            (r#"join("-", ["a", "b"])"#, r#""a-b""#),
            (r#"split(",", "a,b")"#, r#"["a","b"]"#),
            (
                r#"format("%s-%03d %v %q %5.2f%%", "x", 7, true, "y", 1.5)"#,
                r#""x-007 true \"y\"  1.50%""#,
            ),
            (r#"formatlist("%s:%d", ["a", "b"], [1, 2])"#, r#"["a:1","b:2"]"#),
            (r#"replace("a.b.c", ".", "-")"#, r#""a-b-c""#),
            (r#"replace("a1b22", "/[0-9]+/", "x")"#, r#""axbx""#),
            (r#"regex_replace("ab", "(a)(b)", "$2$1")"#, r#""ba""#),
            (r#"substr("hello", 1, 3)"#, r#""ell""#),
            (r#"substr("hello", -3, -1)"#, r#""llo""#),
            (r#"trim("--a-", "-")"#, r#""a""#),
            (r#"trimprefix("v1", "v")"#, r#""1""#),
            (r#"trimsuffix("a.hcl", ".hcl")"#, r#""a""#),
            (r#"indent(2, "a\nb")"#, r#""a\n  b""#),
            (r#"chomp("a\n")"#, r#""a""#),
            (r#"strlen("äb")"#, "2"),
            (r#"keys({b = 1, a = 2})"#, r#"["a","b"]"#),
            (r#"values({b = 1, a = 2})"#, "[2,1]"),
            (r#"lookup({a = 1}, "b", 5)"#, "5"),
            (r#"merge({a = 1}, {b = 2}, {a = 3})"#, r#"{"a":3,"b":2}"#),
            (r#"contains(["a"], "a")"#, "true"),
            (r#"element(["a", "b"], 3)"#, r#""b""#),
            ("flatten([[1, [2]], 3])", "[1,2,3]"),
            ("range(3)", "[0,1,2]"),
            ("range(1, 7, 2)", "[1,3,5]"),
            ("reverse([1, 2])", "[2,1]"),
            (r#"reverse("abc")"#, r#""cba""#),
            (r#"sort(["b", "a"])"#, r#"["a","b"]"#),
            (r#"distinct(["a", "b", "a"])"#, r#"["a","b"]"#),
            (r#"compact(["a", "", "b"])"#, r#"["a","b"]"#),
            ("concat([1], [2])", "[1,2]"),
            (r#"coalesce(null, "x")"#, r#""x""#),
            ("coalescelist([], [1])", "[1]"),
            (r#"index(["a", "b"], "b")"#, "1"),
            ("slice([1, 2, 3], 1, 3)", "[2,3]"),
            (r#"zipmap(["a"], [1])"#, r#"{"a":1}"#),
            ("chunklist([1, 2, 3], 2)", "[[1,2],[3]]"),
            (r#"setunion(["a"], ["b", "a"])"#, r#"["a","b"]"#),
            (r#"setproduct(["a"], [1, 2])"#, r#"[["a",1],["a",2]]"#),
            ("min(3, 1, 2)", "1"),
            ("max([3, 1]...)", "3"),
            ("abs(-2)", "2"),
            ("ceil(1.2)", "2"),
            ("floor(1.8)", "1"),
            ("pow(2, 10)", "1024"),
            ("signum(-5)", "-1"),
            (r#"parseint("ff", 16)"#, "255"),
            (r#"length("ab")"#, "2"),
            ("length([1, 2])", "2"),
            (r#"jsonencode({a = [1, "x", null]})"#, r#""{\"a\":[1,\"x\",null]}""#),
            (r#"jsondecode("{\"a\": 1.5}").a"#, "1.5"),
            (r#"base64encode("hi")"#, r#""aGk=""#),
            (r#"base64decode("aGk=")"#, r#""hi""#),
            (r#"urlencode("a b/c")"#, r#""a+b%2Fc""#),
            (r#"substr(sha256(""), 0, 8)"#, r#""e3b0c442""#),
            (r#"yamldecode("a: [1, x]")"#, r#"{"a":[1,"x"]}"#),
            (r#"try(var.missing, "d")"#, r#""d""#),
            (r#"can(1 + "x")"#, "false"),
            (r#"convert("5", number)"#, "5"),
            (r#"convert([1, 2], list(string))"#, r#"["1","2"]"#),
        ] {
            assert_eq!(eval_text(expression).to_json().to_string(), json, "{expression}");
        }
    }

    #[test]
    fn wrong_calls_say_what_is_wrong() {
        for (expression, message) in [
            ("uper(1)", "there is no function `uper`"),
            ("upper()", "upper takes 1 arguments, these are 0"),
            ("keys([1])", "keys: argument 1 must be a map, it is a list"),
            ("file(\"x\")", "the function `file` is not available in job files"),
            ("range(100000)", "range: this would make more than 1024 elements"),
            ("format(\"%d\", \"x\")", "format: `%d` needs a number, this is a string"),
        ] {
            assert_eq!(eval_fault(expression).message, message, "{expression}");
        }
    }
}
