//! The committed snapshot of the API is what the code says; the UI's types are made from it.

#[test]
fn the_snapshot_is_the_code() {
    let snapshot = include_str!("../data/openapi.json");
    let code = lucid::api::openapi_json();
    assert!(snapshot.trim() == code.trim(), "the API changed: run `make openapi` and commit data/openapi.json and the UI's types");
}

#[test]
fn every_reference_of_the_document_leads_to_a_schema() {
    let document: serde_json::Value = serde_json::from_str(&lucid::api::openapi_json()).unwrap();
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(|r| r.as_str()) {
            references += 1;
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
        }
        match value {
            serde_json::Value::Object(map) => open.extend(map.values()),
            serde_json::Value::Array(list) => open.extend(list),
            _ => {}
        }
    }
    assert!(references > 100, "{references} references");
}

#[test]
fn every_operation_has_an_id_of_its_own() {
    let document: serde_json::Value = serde_json::from_str(&lucid::api::openapi_json()).unwrap();
    let items = document["paths"].as_object().unwrap().values();
    let operations: Vec<_> = items.flat_map(|item| item.as_object().unwrap().values()).collect();
    let ids: std::collections::HashSet<_> = operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
}

/// Two shapes of one name would take each other's place in the document, and nothing would say so.
#[test]
fn every_schema_has_a_name_of_its_own() {
    let (mut files, mut places) = (vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")], Vec::new());
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for after in text.split("ToSchema)]").skip(1) {
            let head = after.split(['{', '(', ';']).next().unwrap_or_default();
            let renamed = after.split("\n").take(6).find_map(|line| line.split_once("schema(as = ")).map(|(_, rest)| rest);
            let declared = ["struct ", "enum "].iter().find_map(|kind| head.split_once(kind)).map(|(_, rest)| rest);
            let name = renamed.or(declared).map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned());
            places.extend(name.map(|name| (name, path.clone())));
        }
    }
    assert!(places.len() > 100, "{} schemas", places.len());
    places.sort();
    for pair in places.windows(2) {
        assert!(pair[0].0 != pair[1].0, "{} is declared in {} and in {}", pair[0].0, pair[0].1.display(), pair[1].1.display());
    }
}
