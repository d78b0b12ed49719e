//! Settings that the binary does not start with.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::binary::BINARY;

/// `serve` with these flags and variables; no other setting comes from outside.
fn serve(dir: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.env_clear().envs(variables.iter().copied()).arg("serve").args(flags);
    if !flags.contains(&"--data-dir") {
        command.arg("--data-dir").arg(dir.join("data"));
    }
    command.output().unwrap()
}

/// It ends with status 2 and says all of `parts`; nothing was made.
fn refused(dir: &Path, flags: &[&str], variables: &[(&str, &str)], parts: &[&str]) -> String {
    let output = serve(dir, flags, variables);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(output.stdout.is_empty() && !dir.join("data").exists(), "nothing was started");
    text
}

#[test]
fn a_wrong_setting_is_named_with_its_value_its_origin_and_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("manager.toml");
    let path = file.to_str().unwrap();
    let from_env = [
        ("LUCID__STORAGE__FLUSH_SECONDS", "4", "storage.flush_seconds", "from 5 to 300"),
        ("POOT_CALCULATION_INTERVAL", "100", "poot.calculation_interval_seconds", "a multiple of 30 seconds that divides a day"),
        ("PAYOUT_THRESHOLD_USDT", "0", "payout.threshold_usdt", "above 0"),
        ("LUCID__PAYOUT__MODE", "really", "payout.mode", "dry_run or live"),
        ("LUCID__LIMITS__MAX_NODES", "10001", "limits.max_nodes", "from 1 to 10000"),
        ("LOG_LEVEL", "loud", "log.level", "error, warn, info"),
        ("LUCID__CLOCK__TRUST", "never", "clock.trust", "earned or always"),
        ("BLOCKCHAIN_URL", "ftp://chain", "blockchain.url", "http:// or https://"),
    ];
    for (variable, value, key, allowed) in from_env {
        refused(dir.path(), &[], &[(variable, value)], &[key, &format!("{value:?}"), variable, allowed]);
    }
    refused(dir.path(), &["--listen", "localhost"], &[], &["server.listen", "\"localhost\"", "--listen", "127.0.0.1:8095"]);

    std::fs::write(&file, "[storage]\nflush_seconds = 601\n[payout]\nfrequency_hours = 0\n").unwrap();
    let text = refused(dir.path(), &["--config", path], &[("LUCID__POOT__MIN_SCORE", "101")], &["3 errors"]);
    for (key, value, origin) in [
        ("storage.flush_seconds", "\"601\"", "manager.toml"),
        ("payout.frequency_hours", "\"0\"", "manager.toml"),
        ("poot.min_score", "\"101\"", "LUCID__POOT__MIN_SCORE"),
    ] {
        let line = text.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key} is missing in {text}"));
        assert!(line.contains(value) && line.contains(origin), "{line}");
    }

    std::fs::write(&file, "[storage]\nflush_second = 60\n").unwrap();
    refused(dir.path(), &["--config", path], &[], &["storage.flush_second", "manager.toml"]);
    std::fs::write(&file, "[storage\n").unwrap();
    refused(dir.path(), &["--config", path], &[], &["manager.toml"]);
    refused(dir.path(), &["--config", "/nonexistent/manager.toml"], &[], &["/nonexistent/manager.toml"]);
    refused(dir.path(), &[], &[("LUCID__STORAGE__FLUSH", "60")], &["LUCID__STORAGE__FLUSH"]);
    let live = ("LUCID__PAYOUT__MODE", "live");
    refused(dir.path(), &[], &[live], &["payout.gateway", "\"none\"", "must be tron or payment_service"]);
    let tron = ("LUCID__PAYOUT__GATEWAY", "tron");
    refused(dir.path(), &[], &[live, tron], &["tron.node_url", "must be given", "tron.keystore", "tron.signer_socket"]);
    let private = [live, tron, ("LUCID__TRON__NETWORK", "private"), ("LUCID__TRON__PERMISSION_ID", "2")];
    refused(dir.path(), &[], &private, &["tron.genesis_block_id", "tron.usdt_contract", "tron.permission_id", "tron.signer_key"]);
    refused(dir.path(), &[], &[live, ("LUCID__PAYOUT__GATEWAY", "payment_service")], &["tron_payment.url"]);
    // An address of documentation: nothing is listened on, whatever is wrong with the check.
    let plain = [("LUCID__SERVER__TLS", "off")];
    refused(dir.path(), &["--listen", "192.0.2.1:0"], &plain, &["server.listen", "192.0.2.1:0", "travel in clear"]);
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let uri = "mongodb://me:hunter2-secret@db.example/lucid";
    let shown = serve(dir.path(), &["--print-config"], &[("MONGODB_URI", uri)]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success());
    let line = text.lines().find(|line| line.starts_with("uri = ")).unwrap();
    assert!(line.contains("***") && line.contains("MONGODB_URI"), "{line}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("flush_seconds") && text.contains("--data-dir"), "{text}");
    assert!(!dir.path().join("data").exists(), "looking makes nothing");

    let told = refused(
        dir.path(),
        &[],
        &[("MONGODB_URI", "postgres://me:hunter2-secret@db.example/lucid")],
        &["mongodb.uri", "MONGODB_URI", "mongodb://"],
    );
    assert!(!told.contains("hunter2"), "{told}");
}
