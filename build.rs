//! The admin UI is embedded from `web/dist`. A checkout without a built UI must build too. What the binary says of itself is told here.

use std::env;
use std::process::Command;

fn main() {
    told();
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
