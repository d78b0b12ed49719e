//! A MongoDB-compatible server that this process starts, or the one that `LUCID_TEST_MONGODB_URI` names, with databases that no two tests share.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};

use super::binary::eventually;

/// The tests' own server stops when this is dropped, and when this process ends.
pub struct Server {
    pub address: String,
    child: Child,
}

impl Server {
    /// With its databases in memory.
    pub fn start() -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replication/server.sh");
        let child = Command::new(script).arg(port.to_string()).stdin(Stdio::piped()).spawn().unwrap();
        Server { address: format!("127.0.0.1:{port}"), child }
    }

    pub fn uri(&self, database: &str) -> String {
        format!("mongodb://{}/{database}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Of the one server that tests share which do no harm to it.
pub fn shared_uri(database: &str) -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    match std::env::var("LUCID_TEST_MONGODB_URI") {
        Ok(uri) => {
            let (server, options) = uri.split_once('?').map_or((uri.as_str(), None), |(server, options)| (server, Some(options)));
            let server = server.trim_end_matches('/');
            options.map_or(format!("{server}/{database}"), |options| format!("{server}/{database}?{options}"))
        }
        Err(_) => SHARED.get_or_init(Server::start).uri(database),
    }
}

/// A database of this test alone, empty.
pub async fn database(name: &str) -> (String, Database) {
    let uri = shared_uri(&format!("lucid_{name}"));
    let database = connect(&uri).await;
    database.drop().await.unwrap();
    (uri, database)
}

/// Once the server answers.
pub async fn connect(uri: &str) -> Database {
    let mut options = mongodb::options::ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(Duration::from_secs(2));
    let client = Client::with_options(options).unwrap();
    let database = client.default_database().unwrap();
    eventually("the server answers", async || database.run_command(doc! { "ping": 1 }).await.ok()).await;
    database
}

/// All documents of a collection, by id.
pub async fn all(database: &Database, collection: &str, filter: Document) -> Vec<Document> {
    let mut found = Vec::new();
    let mut cursor = database.collection::<Document>(collection).find(filter).sort(doc! { "_id": 1 }).await.unwrap();
    while cursor.advance().await.unwrap() {
        found.push(cursor.deserialize_current().unwrap());
    }
    found
}
