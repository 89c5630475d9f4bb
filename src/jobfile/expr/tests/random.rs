//! Expressions that nobody would write: whatever they are, they come to a value or an error, in bounded time.

use proptest::prelude::*;

use crate::expr::{Evaluator, Globals, Scope};
use crate::report::Sink;
use crate::tree::Expr;

const FUNCTIONS: [&str; 83] = [
    "abs",
    "abspath",
    "base64decode",
    "base64encode",
    "basename",
    "bcrypt",
    "can",
    "ceil",
    "chomp",
    "chunklist",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "coalesce",
    "coalescelist",
    "compact",
    "concat",
    "contains",
    "convert",
    "csvdecode",
    "dirname",
    "distinct",
    "element",
    "file",
    "filebase64",
    "fileexists",
    "fileset",
    "flatten",
    "floor",
    "format",
    "formatdate",
    "formatlist",
    "indent",
    "index",
    "join",
    "jsondecode",
    "jsonencode",
    "keys",
    "length",
    "log",
    "lookup",
    "lower",
    "max",
    "md5",
    "merge",
    "min",
    "parseint",
    "pathexpand",
    "pow",
    "range",
    "regex_replace",
    "replace",
    "reverse",
    "rsadecrypt",
    "setintersection",
    "setproduct",
    "setunion",
    "sha1",
    "sha256",
    "sha512",
    "signum",
    "slice",
    "sort",
    "split",
    "strlen",
    "strrev",
    "substr",
    "timeadd",
    "title",
    "trim",
    "trimprefix",
    "trimspace",
    "trimsuffix",
    "try",
    "upper",
    "urlencode",
    "uuidv4",
    "uuidv5",
    "values",
    "yamldecode",
    "yamlencode",
    "zipmap",
];

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("var.x".to_owned()),
        Just("local.a".to_owned()),
        Just("x".to_owned()),
        Just("NOMAD_X".to_owned()),
        Just("number".to_owned()),
        Just("list(any)".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        (-100_i32..100, 0..400_i32).prop_map(|(n, e)| format!("{n}e{}", e - 200)),
        any::<u16>().prop_map(|n| (f64::from(n) / 7.0).to_string()),
        "[ -~]{0,12}"
            .prop_map(|text| serde_json::to_string(&text.replace(['$', '%'], "")).expect("text")),
        "[%\\-+#0-9.\\[\\]a-zé]{0,8}".prop_map(|text| format!("\"%{}\"", text.replace("{", ""))),
        "[a-z\\[\\](){}*+?|^.0-9-]{0,10}".prop_map(|text| format!("\"{text}\"")),
        "\\PC{0,6}"
            .prop_map(|text| serde_json::to_string(&text.replace(['$', '%'], "")).expect("text")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    leaf().prop_recursive(5, 40, 4, |inner| {
        let some = || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            (0..FUNCTIONS.len(), some()).prop_map(|(at, list)| format!(
                "{}({})",
                FUNCTIONS[at],
                list.join(", ")
            )),
            (0..FUNCTIONS.len(), some(), inner.clone()).prop_map(|(at, list, last)| format!(
                "{}({}...)",
                FUNCTIONS[at],
                [list.join(", "), last].join(", ").trim_start_matches(", ")
            )),
            some().prop_map(|list| format!("[{}]", list.join(", "))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{a = {a}, (\"b\") = {b}}}")),
            (inner.clone(), "[-+*/%]|==|!=|<|>=|&&|\\|\\|", inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            (inner.clone(), "\\.a|\\[\\*\\]|\\.\\*|\\.0|\\[\\*\\]\\.a|\\.\\*\\.a\\[0\\]")
                .prop_map(|(a, step)| format!("({a}){step}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[for x in {a} : {b}]")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("{{for k, x in {a} : {b} => {c}...}}")),
            inner.clone().prop_map(|a| format!("\"a ${{~ {a} ~}} b\"")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("\"%{{ for x in {a} ~}} ${{{b}}} %{{ endfor }}\"")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("(-({a})) + (!({b}))")),
        ]
    })
}

fn evaluate(text: &str) {
    let source = format!("x = {text}\n");
    let Ok(body) = hcl_edit::parser::parse_body(&source) else { return };
    let Some(attribute) = body.get_attribute("x") else { return };
    let sink = Sink::new("test.hcl", &source);
    let local = Expr::Hcl(
        hcl_edit::parser::parse_expr("[for i in range(50) : {a = i, b = [\"x\"]}]")
            .expect("parses"),
    );
    let mut globals = Globals::new(&source, &sink);
    globals.locals.insert("a".to_owned(), (&local, crate::report::Span::default()));
    // Whatever it is, it is plain data or an error.
    let _ = Evaluator::in_file(Scope::root(&globals)).eval(&attribute.value);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_expression_panics(text in expression()) {
        evaluate(&text);
    }
}

/// Values are shared, so that a few letters can stand for more than there is memory for; they are counted as if they
/// were not.
#[test]
fn what_grows_by_itself_ends() {
    for text in [
        "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : a]]]".to_owned(),
        nested("[1, 2, 3]", "[{}, {}]", 40),
        nested("\"xxxxxxxx\"", "[{}, {}][*]", 40),
        nested("[1]", "concat({}, {})", 40),
        nested("{a = 1}", "{a = {}, b = {}}", 40),
        nested("\"x\"", "jsonencode([{}])", 40),
        "join(\",\", [for a in range(1000) : join(\",\", range(1000))])".to_owned(),
        "[for a in range(1000) : pow(3, 200) * 1e300 / 7]".to_owned(),
        "[for a in range(1000) : regex_replace(\"aaaaaaaaaaaaaaaaaaaaaaa\", \"(a*)*(b|c)*$\", \"x\")]".to_owned(),
        "[for a in range(1000) : bcrypt(\"x\", 10)]".to_owned(),
        "[for a in range(1000) : range(1000) == range(1000)]".to_owned(),
        "[for a in range(1000) : true ? range(1000) : [for x in range(1000) : \"\"]]".to_owned(),
        "setproduct(range(100), range(100), range(100))".to_owned(),
        "1e4900 * 1e4900 * 1e4900".to_owned(),
        "format(\"%.1000f\", 1 / 3)".to_owned(),
    ] {
        evaluate(&text);
    }
}

fn nested(leaf: &str, around: &str, depth: usize) -> String {
    // Names in `for` make what is repeated short to write.
    (0..depth).fold(leaf.to_owned(), |inner, _| {
        format!("[for v in [{inner}] : {}][0]", around.replace("{}", "v"))
    })
}
