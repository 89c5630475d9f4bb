//! What calls say that are none, and what no call may do. What functions make is compared with Nomad's answers in the
//! tests of [`crate::expr`].

use super::{OWN, TABLES};
use crate::testing::{eval_fault, eval_text};

/// All of Nomad's.
const NAMES: &str = "abs abspath base64decode base64encode basename bcrypt can ceil chomp chunklist cidrhost \
                     cidrnetmask cidrsubnet cidrsubnets coalesce coalescelist compact concat contains convert \
                     csvdecode dirname distinct element file filebase64 fileexists fileset flatten floor format \
                     formatdate formatlist indent index join jsondecode jsonencode keys length log lookup lower max \
                     md5 merge min parseint pathexpand pow range regex_replace replace reverse rsadecrypt \
                     setintersection setproduct setunion sha1 sha256 sha512 signum slice sort split strlen strrev \
                     substr timeadd title trim trimprefix trimspace trimsuffix try upper urlencode uuidv4 uuidv5 \
                     values yamldecode yamlencode zipmap";

#[test]
fn every_function_of_nomad_is_there() {
    let known = TABLES.iter().flat_map(|table| table.iter().map(|function| function.0));
    let mut known: Vec<&str> = known.chain(OWN).collect();
    known.sort_unstable();
    assert_eq!(known.join(" "), NAMES);
}

#[test]
fn calls_that_are_none_say_why() {
    for (expression, message) in [
        ("uper(1)", "there is no function `uper`"),
        ("upper()", "upper takes 1 argument, here are 0"),
        ("range()", "range takes 1 to 3 arguments, here are 0"),
        ("max()", "max takes at least 1 argument, here are 0"),
        ("timestamp()", "there is no function `timestamp`"),
        ("upper(null)", "upper: argument 1 must be a string, it is null"),
        ("abs(\"x\")", "abs: argument 1 must be a number, it is a string"),
        (
            "join(\",\", [\"a\", [1]])",
            "join: argument 2: element 1: a string is needed, this is a list",
        ),
        ("join(\",\", [null])", "join: argument 2: element 0 is null"),
        ("length(\"abc\")", "length: a string has none; write strlen(…)"),
        ("length({a = 1})", "length: an object has none; write length(keys(…))"),
        ("signum(0.5)", "signum: argument 1 must be a whole number, it is 0.5"),
        ("pow(10, 400)", "pow: this is not a finite number"),
        ("format(\"%s\")", "format: there is no argument 1 for `%s`"),
        ("format(\"%1001d\", 1)", "format: the number 1001 is too large, up to 1000 is possible"),
        (
            "regex_replace(\"a\", \"(\", \"\")",
            "regex_replace: `(` is not a regular expression: unclosed group",
        ),
        (
            "file(\"x\")",
            "file: x cannot be read: files are not available here, because the job was not read from a repository",
        ),
        ("file(\"../x\")", "file: `../x` leads out of the repository"),
        (
            "file(\"/etc/hosts\")",
            "file: `/etc/hosts` lies outside of the repository; paths are relative to the job file's folder",
        ),
        (
            "bcrypt(\"x\", 14)",
            "bcrypt: a cost of 14 takes too long while job files are read, up to 10 is possible",
        ),
        ("try()", "try needs an argument"),
        ("try([1][5])", "there is no element 5, the list has 1"),
        ("convert(\"x\", number)", "a number is needed, this is the text \"x\""),
        (
            "distinct([1, [1]])",
            "distinct: argument 1: all elements must be of one type, there are a number and a list",
        ),
        (
            "coalesce(1, true)",
            "coalesce: all values must be of one type, there are a bool and a number",
        ),
    ] {
        assert_eq!(eval_fault(expression).message, message, "{expression}");
    }
}

#[test]
fn chance_is_the_same_for_the_same_file_and_differs_between_calls() {
    let (a, b) = (eval_text("[uuidv4(), uuidv4()]"), eval_text("[uuidv4(), uuidv4()]"));
    assert_eq!(a, b);
    assert_eq!(eval_text("uuidv4() == uuidv4()").as_bool(), Some(false));
    assert_eq!(eval_text("bcrypt(\"a\", 4) == bcrypt(\"a\", 4)").as_bool(), Some(false));
}

/// A short expression must not make the process grow without bound before what it made is counted.
#[test]
fn no_call_makes_more_than_it_may() {
    let text = "x".repeat(20_000);
    for expression in [
        format!("replace(\"{text}\", \"x\", \"{text}\")"),
        format!("replace(\"{text}\", \"\", \"{text}\")"),
        format!("regex_replace(\"{text}\", \"x\", \"{text}\")"),
        format!("regex_replace(\"{text}\", \".*\", \"{}\")", "$0".repeat(1000)),
        format!("join(\"{text}\", range(1000))"),
        format!("indent(1000000, \"{}\")", "\\n".repeat(1000)),
        format!("format(\"{}\", \"{text}\")", "%[1]s".repeat(1000)),
        format!("formatlist(\"%s%d\", \"{text}\", range(1000))"),
        format!("setproduct([\"{text}\"], range(1000))"),
        format!("csvdecode(\"{text}\\n{}\")", "a\\n".repeat(1000)),
    ] {
        let message = eval_fault(&expression).message;
        assert!(message.ends_with("this would make more than 16 MiB"), "{message}");
    }
}
