//! `verify-proof` on the command line: a document, perhaps a key or the folder of an agent, and nothing else. It opens no store and asks nobody.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use lucid::agent::witness::Witness;
use lucid::crypto::PublicKey;
use lucid::domain::proof::check::{self, Finding, Outcome, Verdict};
use lucid::domain::proof::document::{CONSISTENCY, ConsistencyDocument, PROOF, ProofDocument};
use lucid::domain::proof::receipt;
use lucid::domain::proof::succession::Succession;
use serde::Serialize;
use serde_json::Value;

use crate::{Failure, failed, misused, print};

/// Bytes of a document, at most: the longest window is far below.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Bytes of a file with a key, at most.
const MAX_KEY: u64 = 64 << 10;

#[derive(Args)]
pub struct ProofArgs {
    /// A proof or a document about two heads, as the manager gives them out; - for standard input
    file: PathBuf,
    /// The manager's key, in hex or in a file: the hex digits, or the JSON of /api/v1/poot/manager-key
    #[arg(long, value_name = "HEX|FILE")]
    manager_key: Option<String>,
    /// Folder of the node's agent: its pinned key is the manager's, and what the manager acknowledged to it has to be in the leaf
    #[arg(long, value_name = "DIR")]
    agent_dir: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    verdict: Verdict,
    findings: Vec<Finding>,
}

/// Exit status 0 when everything is good and the signer is who was given, 3 when nothing is wrong and not everything could be checked, 1 otherwise.
pub fn verify_proof(args: &ProofArgs) -> Result<(), Failure> {
    let given = args.manager_key.as_deref().map(manager_key).transpose()?;
    let witness = args.agent_dir.as_deref().map(witness).transpose()?;
    let pinned = given.or_else(|| witness.as_ref().map(|witness| witness.manager_key().0));
    let text = read(&args.file, MAX_DOCUMENT)?;
    let findings = findings(&text, pinned.as_ref(), witness.as_ref())?;
    let report = Report { verdict: Verdict::of(&findings), findings };
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report).map_err(failed)?))?;
    } else {
        for Finding { check, outcome, said } in &report.findings {
            let outcome = match outcome {
                Outcome::Good => "good",
                Outcome::Wrong => "WRONG",
                Outcome::Unchecked => "not checked",
            };
            print(&format!("{check}: {outcome}: {said}\n"))?;
        }
        print(match report.verdict {
            Verdict::Good => "good: everything follows, and the signer is the manager whose key was given\n",
            Verdict::Consistent => "consistent: nothing is wrong, and not everything could be checked\n",
            Verdict::Wrong => "WRONG: this proves nothing\n",
        })?;
    }
    match report.verdict {
        Verdict::Good => Ok(()),
        verdict => Err(Failure::Verdict(verdict.exit_status())),
    }
}

fn findings(text: &str, pinned: Option<&[u8; 32]>, witness: Option<&Witness>) -> Result<Vec<Finding>, Failure> {
    let format = serde_json::from_str::<Value>(text).ok().and_then(|value| Some(value.get("format")?.as_str()?.to_owned()));
    let malformed = |error: serde_json::Error| failed(format!("the document does not read: {error}"));
    match format.as_deref() {
        Some(PROOF) => {
            let mut document: ProofDocument = serde_json::from_str(text).map_err(malformed)?;
            let Some(witness) = witness else { return Ok(check::proof(&document, pinned)) };
            if *witness.node() != document.node_id {
                return Err(misused(format!("--agent-dir: its node is {}, and the proof is of {}", witness.node(), document.node_id)));
            }
            go_on(&mut document.successions, witness);
            let mut findings = check::proof(&document, pinned);
            findings.push(receipt::check(&document, &witness.acknowledged()));
            Ok(findings)
        }
        Some(CONSISTENCY) => {
            let mut document: ConsistencyDocument = serde_json::from_str(text).map_err(malformed)?;
            witness.into_iter().for_each(|witness| go_on(&mut document.successions, witness));
            Ok(check::consistency(&document, pinned))
        }
        Some(other) => Err(failed(format!("the format {other:?} is not known to this version"))),
        None => Err(failed("this is no document that can be checked: it has no `format`")),
    }
}

/// An old document knows nothing of keys that came after it; the agent does.
fn go_on(successions: &mut Vec<Succession>, witness: &Witness) {
    let known = witness.successions();
    let from = match successions.last() {
        None => Some(0),
        Some(last) => known.iter().position(|statement| statement.old_key == last.new_key),
    };
    successions.extend_from_slice(from.map_or(&[], |from| &known[from..]));
}

fn witness(folder: &Path) -> Result<Witness, Failure> {
    let read = Witness::read(folder).map_err(|error| misused(format!("--agent-dir: {error}")))?;
    read.ok_or_else(|| misused(format!("--agent-dir: there is no enrolled node in {}", folder.display())))
}

fn read(path: &Path, limit: u64) -> Result<String, Failure> {
    let cannot = |error: io::Error| failed(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().take(limit + 1).read_to_string(&mut text),
        _ => File::open(path).map_err(cannot)?.take(limit + 1).read_to_string(&mut text),
    };
    read.map_err(cannot)?;
    if text.len() as u64 > limit { Err(failed(format!("{} is larger than any document", path.display()))) } else { Ok(text) }
}

fn manager_key(given: &str) -> Result<[u8; 32], Failure> {
    if let Some(key) = PublicKey::from_hex(given) {
        return Ok(key.0);
    }
    let text = read(Path::new(given), MAX_KEY)
        .map_err(|_| misused(format!("--manager-key: {given} is neither 64 hex digits nor a file that can be read")))?;
    let of_json = || serde_json::from_str::<Value>(&text).ok().and_then(|value| PublicKey::from_hex(value.get("public_key")?.as_str()?));
    let key = PublicKey::from_hex(text.trim()).or_else(of_json);
    key.map(|key| key.0).ok_or_else(|| misused(format!("--manager-key: {given} holds no key")))
}
