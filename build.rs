//! The admin UI is embedded from `web/dist`. A checkout without a built UI must build too. The API's document is embedded without the white space
//! that makes the committed one readable. What the binary says of itself is told here.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    told();
    document();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/dist");
    if let Err(error) = std::fs::create_dir_all("web/dist") {
        println!("cargo::error=web/dist cannot be made: {error}");
    }
}

/// Target and compiler. The commit comes from `LUCID_COMMIT`, so that not every commit means a new build.
fn told() {
    let rustc = env::var_os("RUSTC").and_then(|rustc| Command::new(rustc).arg("--version").output().ok());
    let rustc = rustc.and_then(|answer| String::from_utf8(answer.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=LUCID_TARGET={}", env::var("TARGET").unwrap_or_default());
    println!("cargo::rustc-env=LUCID_RUSTC={}", rustc.trim());
}

/// `data/openapi.json` as `OUT_DIR/openapi.json`, half as long.
fn document() {
    const COMMITTED: &str = "data/openapi.json";
    println!("cargo::rerun-if-changed={COMMITTED}");
    let to = env::var_os("OUT_DIR").map(|dir| Path::new(&dir).join("openapi.json")).unwrap_or_default();
    let written = std::fs::read_to_string(COMMITTED).and_then(|text| std::fs::write(to, without_white_space(&text)));
    if let Err(error) = written {
        println!("cargo::error={COMMITTED} cannot be embedded: {error}");
    }
}

/// White space of JSON outside of its texts.
fn without_white_space(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let kept = |c: &char| {
        let keep = in_text || !c.is_ascii_whitespace();
        in_text ^= *c == '"' && !escaped;
        escaped = in_text && *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(kept).collect()
}
