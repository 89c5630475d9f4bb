use proptest::prelude::*;

use super::*;

#[test]
fn names_of_secrets() {
    for name in [
        "DB_PASSWORD",
        "dbPassword",
        "PGPASSWORD",
        "SECRET_KEY_BASE",
        "apiKey",
        "API-KEY",
        "api_key",
        "GITHUB_TOKEN",
        "auth",
        "Authorization",
        "AWS_SECRET_ACCESS_KEY",
        "MYSQL_PWD",
        "DB_PASS",
        "private_key",
        "credentials",
        "vault.token",
        "JWT",
        "connectionString",
        "SESSION_COOKIE",
    ] {
        assert!(is_secret_name(name), "{name}");
    }
    for name in [
        "",
        "PORT",
        "image",
        "AUTHOR",
        "BYPASS",
        "COMPASS_URL",
        "PASSWORD_FILE",
        "TOKEN_TTL",
        "SECRET_NAME",
        "SecretsMB",
        "passing",
        "auth_mode",
        "KEY",
        "monkey",
        "TOKEN_URL",
    ] {
        assert!(!is_secret_name(name), "{name}");
    }
}

/// Each text as a diff may show it. Where nothing is hidden, nothing may be.
const TABLE: &[(&str, &str)] = &[
    // Nothing secret.
    ("", ""),
    ("redis:7", "redis:7"),
    (
        "ghcr.io/a/b@sha256:0123456789abcdef0123456789abcdef",
        "ghcr.io/a/b@sha256:0123456789abcdef0123456789abcdef",
    ),
    ("http://host:8080/path@v1", "http://host:8080/path@v1"),
    ("git::ssh://git@github.com/a/b", "git::ssh://git@github.com/a/b"),
    ("--password-file=/run/secrets/x", "--password-file=/run/secrets/x"),
    ("${secret.db.password}", "${secret.db.password}"),
    ("PASSWORD=${secret.db.password}", "PASSWORD=${secret.db.password}"),
    (
        "PASSWORD={{ with secret \"kv/db\" }}{{ .Data.data.password }}{{ end }}",
        "PASSWORD={{ with secret \"kv/db\" }}{{ .Data.data.password }}{{ end }}",
    ),
    ("postgres://app:${DB_PASSWORD}@db/x", "postgres://app:${DB_PASSWORD}@db/x"),
    ("--user 1000:1000", "--user 1000:1000"),
    ("Basic authentication is off", "Basic authentication is off"),
    ("task-runner", "task-runner"),
    ("eyJ", "eyJ"),
    // Passwords in URLs.
    ("postgres://u:hunter2@db/x", "postgres://u:<hidden>@db/x"),
    ("postgres://u:hun@ter2@db/x", "postgres://u:<hidden>@db/x"),
    ("amqp://u:hun/ter2@mq:5672/", "amqp://u:<hidden>@mq:5672/"),
    ("redis://:hunter2@cache:6379/0", "redis://<hidden>@cache:6379/0"),
    ("mongodb://u:hunter2@a:27017,b:27017/db", "mongodb://u:<hidden>@a:27017,b:27017/db"),
    ("https://0123456789abcdef01234567@github.com/a/b", "https://<hidden>@github.com/a/b"),
    ("https://hunter2:x-oauth-basic@github.com/a", "https://<hidden>@github.com/a"),
    ("git::https://u:hunter2@host/a.git?ref=x", "git::https://u:<hidden>@host/a.git?ref=x"),
    // Names that give their value.
    ("--api-key=hunter2", "--api-key=<hidden>"),
    ("PASSWORD=hunter2", "PASSWORD=<hidden>"),
    ("-e PASSWORD=hunter2", "-e PASSWORD=<hidden>"),
    ("-eDB_PASSWORD=hunter2", "-eDB_PASSWORD=<hidden>"),
    ("mysql --password hunter2 -h db", "mysql --password <hidden> -h db"),
    (
        "Server=db;User=u;Password=hunter2;Encrypt=no",
        "Server=db;User=u;Password=<hidden>;Encrypt=no",
    ),
    (
        "host=db user=u password='hunter2' sslmode=off",
        "host=db user=u password='<hidden>' sslmode=off",
    ),
    ("Server=db;Pwd=hun;ter2", "Server=db;Pwd=<hidden>"),
    ("{\"user\":\"u\",\"password\":\"hunter2\"}", "{\"user\":\"u\",\"password\":\"<hidden>\"}"),
    ("password: hunter2 hunter2", "password: <hidden>"),
    ("https://host/x?token=hunter2&a=b", "https://host/x?token=<hidden>&a=b"),
    ("Authorization: Bearer hunter2", "Authorization: <hidden>"),
    ("-H 'Authorization: Basic dTpodW50ZXIy'", "-H 'Authorization: <hidden>'"),
    ("Bearer abcDEF123456", "Bearer <hidden>"),
    ("curl -u admin:hunter2 http://x", "curl -u admin:<hidden> http://x"),
    ("requirepass=1 password={{ \"hunter2\" }}", "requirepass=1 password=<hidden>"),
    // Tokens.
    ("use ghp_0123456789abcdefABCDEF0123456789abcd now", "use <hidden> now"),
    ("glpat-0123456789abcdefABCD", "<hidden>"),
    ("AKIAIOSFODNN7EXAMPLE", "<hidden>"),
    ("xoxb-1234567890-abcdefghij", "<hidden>"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", "<hidden>"),
    (
        "https://hooks.slack.com/services/T000/B000/XXXX",
        "https://hooks.slack.com/services/<hidden>",
    ),
    (
        "traefik.http.middlewares.a.basicauth.users=admin:$apr1$x$y",
        "traefik.http.middlewares.a.basicauth.users=<hidden>",
    ),
    ("admin:$2y$05$abcdefgh", "admin:<hidden>"),
    ("a = 1\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\n", "<hidden>"),
    ("-----BEGIN PRIVATE KEY-----", "<hidden>"),
    ("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"),
    ("listen 80\npassword hunter2\ntoken = hunter2\n", "<hidden>"),
];

#[test]
fn texts_are_shown_without_their_secrets() {
    for (text, shown) in TABLE {
        assert_eq!(redact_text(text), *shown, "{text}");
        assert_eq!(holds_secret(text), text != shown, "{text}");
        assert!(!redact_text(text).contains("hunter2"), "{text}");
    }
}

#[test]
fn a_checker_is_told_of_plain_secrets_only() {
    for (name, value, secret) in [
        ("DB_PASSWORD", "hunter2", true),
        ("DB_PASSWORD", "", false),
        ("DB_PASSWORD", "${secret.db.password}", false),
        ("DB_PASSWORD", "{{ key \"db\" }}", false),
        ("DB_PASSWORD", "$DB_PASSWORD", false),
        ("DB_PASSWORD", "x${NOMAD_JOB_ID}", true),
        ("ALLOW_EMPTY_PASSWORD", "yes", false),
        ("DB_PASSWORD_FILE", "/secrets/db", false),
        ("URL", "postgres://u:hunter2@db/x", true),
        ("PORT", "80", false),
    ] {
        assert_eq!(looks_secret(name, value), secret, "{name}={value}");
    }
}

#[test]
fn an_argument_is_read_with_the_one_before() {
    for (before, argument, shown) in [
        (Some("--token"), "hunter2", "<hidden>"),
        (Some("--token"), "${secret.a.b}", "${secret.a.b}"),
        (Some("-u"), "admin:hunter2", "admin:<hidden>"),
        (Some("-u"), "1000:1000", "1000:1000"),
        (Some("-e"), "PASSWORD=hunter2", "PASSWORD=<hidden>"),
        (Some("-H"), "X-Api-Key: hunter2", "X-Api-Key: <hidden>"),
        (Some("-v"), "1", "1"),
        (None, "--verbose", "--verbose"),
    ] {
        assert_eq!(redact_argument(before, argument), shown, "{before:?} {argument}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC{0,80}", tail in "[-=:@/${}\"' a-z0-9]{0,60}") {
        let whole = format!("{text}password={tail}://{text}");
        let _ = redact_text(&whole);
        let _ = is_reference(&whole);
        let _ = redact(&text, &tail);
        let _ = redact_argument(Some(&tail), &text);
    }

    #[test]
    fn a_password_of_letters_is_never_shown(secret in "[a-zA-Z0-9]{8,20}") {
        prop_assume!(!secret.starts_with("eyJ"));
        for text in [
            format!("https://user:{secret}@host/"),
            format!("--password={secret}"),
            format!("a=b;pwd={secret};c=d"),
            format!("export DB_PASSWORD=\"{secret}\""),
            format!("curl -u me:{secret} x"),
            format!("tool --token {secret} x"),
            format!("listen 80\npassword: {secret}\nx"),
        ] {
            prop_assert!(!redact_text(&text).contains(&secret), "{}", text);
        }
    }
}
