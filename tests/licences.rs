//! The licences that the binary carries are those of what it is made of.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

fn carried() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/data/licences.json.gz");
    let unpacked = Command::new("gzip").args(["-dc", file]).output().unwrap();
    assert!(unpacked.status.success());
    serde_json::from_slice(&unpacked.stdout).unwrap()
}

/// `name version` of everything that is locked, this program left out.
fn locked() -> BTreeSet<String> {
    let lock: toml::Table = toml::from_str(include_str!("../Cargo.lock")).unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let named = packages.map(|p| (p["name"].as_str().unwrap(), p["version"].as_str().unwrap()));
    named.filter(|(name, _)| *name != env!("CARGO_PKG_NAME")).map(|(name, version)| format!("{name} {version}")).collect()
}

#[test]
fn every_locked_package_is_listed_and_no_other() {
    let carried = carried();
    let packages = carried["packages"].as_array().unwrap();
    let rust = packages.iter().filter(|p| {
        let name = p["name"].as_str().unwrap();
        // What no lock file of cargo names: the UI's packages, and what the compiler links.
        !name.starts_with("npm:") && !name.contains(' ')
    });
    let mut listed: BTreeSet<String> =
        rust.map(|p| format!("{} {}", p["name"].as_str().unwrap(), p["version"].as_str().unwrap())).collect();
    assert!(listed.len() > 100 && listed.contains(&format!("redb {}", version_of("redb"))));
    listed.extend(carried["not_in_binary"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()));
    assert_eq!(listed, locked(), "what is locked changed: run `make licences` and commit data/licences.json.gz");
}

fn version_of(name: &str) -> String {
    locked().into_iter().find_map(|package| package.strip_prefix(&format!("{name} ")).map(str::to_owned)).unwrap()
}

#[test]
fn packages_of_the_ui_are_the_locked_ones() {
    let lock: Value = serde_json::from_str(include_str!("../web/package-lock.json")).unwrap();
    let carried = carried();
    let mut found = 0;
    for package in carried["packages"].as_array().unwrap() {
        let Some(name) = package["name"].as_str().unwrap().strip_prefix("npm:") else { continue };
        assert_eq!(package["version"], lock["packages"][format!("node_modules/{name}")]["version"], "{name}: run `make licences`");
        found += 1;
    }
    assert!(found >= 2);
}

#[test]
fn every_package_has_a_licence_and_its_text() {
    let carried = carried();
    let texts = carried["texts"].as_array().unwrap();
    for package in carried["packages"].as_array().unwrap() {
        let text = texts[usize::try_from(package["text_id"].as_u64().unwrap()).unwrap()].as_str().unwrap();
        assert!(text.len() > 200 && !package["licence"].as_str().unwrap().is_empty(), "{package}");
    }
}
