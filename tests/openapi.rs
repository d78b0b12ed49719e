//! The committed snapshot of the API is what the code says; the UI's types are made from it.

#[test]
fn the_snapshot_is_the_code() {
    let snapshot = include_str!("../data/openapi.json");
    let code = lucid::api::openapi_json();
    assert!(snapshot.trim() == code.trim(), "the API changed: run `make openapi` and commit data/openapi.json and the UI's types");
}
