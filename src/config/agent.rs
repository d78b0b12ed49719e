//! The configuration file of an agent: what its flags say, for nodes that start it unattended.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::sources::read_bounded;
use crate::domain::workload::WorkloadConfig;

/// All optional; a flag overrides what is here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFile {
    /// URL of the manager.
    pub manager: Option<String>,
    /// File with the enrolment token; needed until the node is enrolled.
    pub token_file: Option<PathBuf>,
    /// Folder of the key, the enrolment and the spool.
    pub state_dir: Option<PathBuf>,
    /// Wanted name of the node.
    pub name: Option<String>,
    /// Bytes on disk for what could not be sent, in MB.
    pub spool_max_mb: Option<u32>,
    /// Certificates (PEM) to trust beside the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// A level, or a list such as `info,lucid::agent=debug`.
    pub log_level: Option<String>,
    /// What this node runs besides its agent.
    pub workload: Option<WorkloadConfig>,
}

impl AgentFile {
    /// The error names the file, the line and what is allowed.
    pub fn load(path: &Path) -> Result<AgentFile, String> {
        let text = read_bounded(path).map_err(|problem| format!("{} {problem}", path.display()))?;
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file: AgentFile = toml::from_str(&text).map_err(|error| named(&error))?;
        file.workload.as_ref().map_or(Ok(()), WorkloadConfig::check).map_err(|error| named(&error))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::RestartPolicy;

    fn load(text: &str) -> Result<AgentFile, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        AgentFile::load(file.path())
    }

    #[test]
    fn an_agents_file_is_read_and_unknown_names_are_refused() {
        let file = load("manager = \"http://127.0.0.1:8095\"\nspool_max_mb = 64\n").unwrap();
        assert_eq!((file.manager.as_deref(), file.spool_max_mb, file.name), (Some("http://127.0.0.1:8095"), Some(64), None));
        assert_eq!(load("").unwrap(), AgentFile::default());
        let error = load("\nmanger = \"x\"\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("manger") && error.contains("`manager`"), "{error}");
        let workload = "[workload]\ncommand = [\"/bin/sleep\", \"9\"]\nrestart = \"on_failure\"\nenv = { A = \"b\" }\n";
        let workload = load(workload).unwrap().workload.unwrap();
        assert_eq!((workload.restart, workload.stop_grace_seconds, workload.stop_with_agent), (RestartPolicy::OnFailure, 30, false));
        let broken = [
            "command = []",
            "command = [\"sleep\"]",
            "command = [\"/x\"]\nstop_grace_seconds = 601",
            "command = [\"/x\"]\nworking_dir = \"x\"",
        ];
        for text in broken {
            assert!(load(&format!("[workload]\n{text}\n")).unwrap_err().contains("workload."), "{text}");
        }
        assert!(AgentFile::load(Path::new("/nonexistent/agent.toml")).unwrap_err().contains("/nonexistent/agent.toml"));
    }
}
