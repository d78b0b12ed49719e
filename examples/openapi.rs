//! Prints the OpenAPI document as the routes declare it now; `make openapi` keeps it as `data/openapi.json`.

fn main() {
    print!("{}", lucid::api::openapi_json());
}
