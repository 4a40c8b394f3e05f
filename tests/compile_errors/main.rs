//! The compiler errors for common mistakes: each program in `programs` makes one mistake and ends with lines that
//! begin with `//~`. The compiler must print all these lines, in this order. The programs use the default features.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A program, and the lines that the compiler must print for it.
struct Case {
    name: String,
    expected: Vec<String>,
}

/// Creates a package of the programs. The package depends on the crate as a user's package does.
fn package() -> io::Result<(PathBuf, Vec<Case>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_errors");
    let programs = package.join("src/bin");
    // Remove the files of an earlier run.
    if programs.exists() {
        fs::remove_dir_all(&programs)?;
    }
    fs::create_dir_all(&programs)?;
    fs::write(package.join("Cargo.toml"), manifest(root))?;
    // Use the locked versions, which are already downloaded.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock"))?;
    let mut cases = Vec::new();
    for entry in fs::read_dir(root.join("tests/compile_errors/programs"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let expected = text.lines().filter_map(|line| line.strip_prefix("//~ "));
        let name = path.file_stem().expect("a program has a name").display().to_string();
        fs::copy(&path, programs.join(&name).with_extension("rs"))?;
        cases.push(Case { name, expected: expected.map(str::to_owned).collect() });
    }
    Ok((package, cases))
}

fn manifest(root: &Path) -> String {
    format!(
        "[package]\nname = \"mistakes\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         roomcast = {{ path = {root:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\
         tokio = {{ version = \"1\", features = [\"full\"] }}\n"
    )
}

/// The errors of each program, as the compiler prints them.
fn errors(package: &Path) -> io::Result<Vec<(String, String)>> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--keep-going", "--message-format=json"])
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(package.join("target"))
        .env_remove("RUSTFLAGS")
        .output()?;
    let messages = output.stdout.split(|&byte| byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let errors = messages.filter(|message| message["message"]["level"] == "error");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors: Vec<_> = errors
        .map(|message| (text(&message["target"]["name"]), text(&message["message"]["rendered"])))
        .collect();
    if errors.is_empty() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr)));
    }
    Ok(errors)
}

/// The first expected line that does not follow the line before it.
fn first_missing<'a>(said: &str, expected: &'a [String]) -> Option<&'a String> {
    let mut rest = said;
    expected.iter().find(|line| match rest.split_once(line.as_str()) {
        Some((_, behind)) => {
            rest = behind;
            false
        }
        None => true,
    })
}

#[test]
fn common_mistakes_get_helpful_compiler_errors() {
    let (package, cases) = package().expect("a package is made");
    let errors = errors(&package).expect("the compiler has run");
    assert!(!cases.is_empty());
    for Case { name, expected } in cases {
        let of_it = errors.iter().filter(|(program, _)| *program == name);
        let said: String = of_it.map(|(_, said)| said.as_str()).collect();
        assert!(!expected.is_empty(), "{name} says what it expects");
        if let Some(missing) = first_missing(&said, &expected) {
            panic!("{name}: {missing:?} is missing, or out of order:\n{said}");
        }
    }
}
