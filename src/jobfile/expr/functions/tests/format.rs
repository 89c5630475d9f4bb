use super::Row;

pub(super) const ROWS: &[Row] = &[
    (r#"format("%s-%03d %v %q %5.2f%%", "x", 7, true, "y", 1.5)"#, r#""x-007 true \"y\"  1.50%""#),
    (
        r#"format("%v %v %v %#v", [1, "a"], {b = null}, null, "x")"#,
        r#""[1,\"a\"] {\"b\":null} null \"x\"""#,
    ),
    (
        r#"format("%v %v %v %v", 100000, 1000000, 1234567, 0.00001)"#,
        r#""100000 1e+06 1.234567e+06 1e-05""#,
    ),
    (r#"format("%g %.3g %G %g", 1.5, 1234.5, 1000000, 120)"#, r#""1.5 1.23e+03 1E+06 120""#),
    (r#"format("%e %.1E %f %.0f", 12.5, 0.05, 3, 2.6)"#, r#""1.250000e+01 5.0E-02 3.000000 3""#),
    (r#"format("%b %o %x %X %#x %#o", 5, 8, 255, 255, -255, 8)"#, r#""101 10 ff FF -0xff 010""#),
    (
        r#"format("[%5d|%-5d|%05d|%+d|% d|%.3d]", 42, 42, -42, 42, 42, 7)"#,
        r#""[   42|42   |-0042|+42| 42|007]""#,
    ),
    (
        r#"format("[%5s|%-5s|%05s|%.2s|%5q]", "ab", "ab", "ab", "abc", "a")"#,
        r#""[   ab|ab   |000ab|ab|  \"a\"]""#,
    ),
    (r#"format("[%3s]", "e\u0301")"#, "\"[  e\u{301}]\""),
    (r#"format("[%08.2f|%-8.1f|%+.1f]", -1.5, 2, 3)"#, r#""[-0001.50|2.0     |+3.0]""#),
    (r#"format("%[2]s %[1]s %s", "a", "b")"#, r#""b a b""#),
    (r#"format("%d %t", "12", "true")"#, r#""12 true""#),
    (r#"format("%q", "<a>")"#, r#""\"\\u003ca\\u003e\"""#),
    (r#"format("100%%")"#, r#""100%""#),
    (r#"format("%d", "x")"#, "error: format: `%d` needs a number, this is a string"),
    (r#"format("%d", 1.5)"#, "error: format: `%d` needs a whole number, this is a number"),
    (r#"format("%s", [1])"#, "error: format: `%s` needs a string, this is a list"),
    (r#"format("%s", null)"#, "error: format: `%s` needs a string, this is null"),
    (r#"format("%t", 1)"#, "error: format: `%t` needs a bool, this is a number"),
    (r#"format("%s")"#, "error: format: there is no argument 1 for `%s`"),
    (r#"format("%[3]s", 1)"#, "error: format: there is no argument 3 for `%s`"),
    (
        r#"format("%[0]s", 1)"#,
        "error: format: the number of an argument is written as `[1]`, from 1",
    ),
    (r#"format("a", 1)"#, "error: format: there are more arguments than verbs"),
    (r#"format("%z", 1)"#, "error: format: there is no verb `%z`"),
    (r#"format("%5", 1)"#, "error: format: the format ends in the middle of a verb"),
    (r#"format("%.f", 1)"#, "error: format: the precision of a verb is missing after `.`"),
    (
        r#"format("%9999d", 1)"#,
        "error: format: the number 9999 is too large, up to 1000 is possible",
    ),
    (r#"formatlist("%s:%d", ["a", "b"], [1, 2])"#, r#"["a:1","b:2"]"#),
    (r#"formatlist("%s%s", "x", ["a", "b"])"#, r#"["xa","xb"]"#),
    (r#"formatlist("%s", [])"#, "[]"),
    (r#"formatlist("a")"#, r#"["a"]"#),
    (
        r#"formatlist("%s%s", [1], [1, 2])"#,
        "error: formatlist: the lists differ in length: 1 and 2",
    ),
    (
        r#"formatlist("%s%s", [1, 2], [1])"#,
        "error: formatlist: the lists differ in length: 2 and 1",
    ),
];
