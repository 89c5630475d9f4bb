//! Templates in `fixtures/templates` and what comes of them: `x.tpl` gives `x.out`, or the error in `x.error`.

#![expect(clippy::disallowed_methods, reason = "the tests read files, the room does not")]

use std::collections::BTreeMap;
use std::path::Path;

use model::Timestamp;
use template::{Settings, Stopped, Template};

fn data() -> BTreeMap<String, String> {
    [
        ("NOMAD_JOB_NAME", "web"),
        ("NOMAD_PORT_http", "20001"),
        ("attr.cpu.arch", "amd64"),
        ("node.unique.name", "node-1"),
        ("meta.rack", "r1"),
        ("SECRET", "hunter2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn render(text: &str) -> Result<String, String> {
    let settings = Settings { now: Timestamp::from_secs(1_700_000_000), ..Settings::default() };
    let template = Template::parse(text, "", "").map_err(|error| error.to_string())?;
    match template.render(&data(), settings) {
        Ok(rendered) => Ok(rendered.text),
        Err(Stopped::Failed(error)) => Err(error.to_string()),
        Err(Stopped::Wants(dependency)) => Err(format!("wants {dependency:?}")),
    }
}

#[test]
fn templates_give_what_is_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/templates");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "tpl") {
            continue;
        }
        seen += 1;
        let read = |path: &Path| std::fs::read_to_string(path);
        let name = path.display();
        let result = render(&read(&path).expect("text"));
        match read(&path.with_extension("error")) {
            Ok(wanted) => {
                let error = result.expect_err(&name.to_string());
                assert_eq!(error, wanted.trim_end(), "{name}");
                assert!(!error.contains("hunter2"), "{name}");
            }
            Err(_) => {
                let wanted = read(&path.with_extension("out")).expect("what is wanted");
                assert_eq!(result.as_deref(), Ok(wanted.as_str()), "{name}");
            }
        }
    }
    assert!(seen > 15, "only {seen} templates were found");
}
