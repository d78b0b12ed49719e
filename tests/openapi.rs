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
