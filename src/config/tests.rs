use super::*;
use std::path::PathBuf;
use tempfile::NamedTempFile;

fn env(pairs: &[(&str, &str)]) -> Sources {
    Sources { environment: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), ..Sources::default() }
}

fn written(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// The file lives as long as the first value.
fn file(text: &str) -> (NamedTempFile, Sources) {
    let file = written(text);
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    (file, sources)
}

fn errors(sources: &Sources) -> Vec<String> {
    Config::load(sources).err().map(|e| e.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn the_defaults_are_complete_and_allowed() {
    let config = Config::defaults().unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8095");
    assert_eq!(config.server.public_url(), "http://127.0.0.1:8095");
    assert_eq!(config.payout.threshold_usdt.units, Units(10_000_000));
    assert_eq!(config.poot.score_multiplier.to_string(), "1.5");
    let pricing = config.default_pool.pricing();
    assert_eq!((pricing.cost_per_hour, pricing.reward_per_hour), (Units(50_000), Units(50_000)));
    assert_eq!(config.storage.flush_seconds, None, "auto");
}

#[test]
fn default_toml_and_the_list_of_settings_have_the_same_keys_in_the_same_order() {
    let mut section = String::new();
    let mut in_file = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            in_file.push(format!("{section}.{key}"));
        }
    }
    let in_code: Vec<String> = settings::keys().into_iter().map(|key| key.name).collect();
    assert_eq!(in_file, in_code);
}

#[test]
fn each_layer_lies_over_the_one_before_and_is_remembered() {
    let (_guard, mut sources) = file("[pools]\nmax_nodes_per_pool = 7\n[log]\nlevel = \"debug\"\n[server]\nlisten = \"127.0.0.1:1\"\n");
    sources.environment = env(&[("LOG_LEVEL", "WARNING"), ("LUCID__SERVER__LISTEN", "127.0.0.1:2")]).environment;
    sources.flags = vec![("server.listen", "--listen", "127.0.0.1:3".into())];
    let loaded = Config::load(&sources).unwrap();
    assert_eq!(loaded.config.pools.max_nodes_per_pool, 7);
    assert_eq!(loaded.config.server.listen.port(), 3);
    let file = |line| Origin::File { path: sources.file.clone().unwrap(), line };
    assert_eq!(loaded.origin("pools.max_nodes_per_pool"), Some(&file(2)));
    assert_eq!(loaded.origin("log.level"), Some(&Origin::Env("LOG_LEVEL".into())));
    assert_eq!(loaded.origin("server.listen"), Some(&Origin::Flag("--listen")));
    assert_eq!(loaded.origin("poot.min_score"), Some(&Origin::Default));
}

#[test]
fn the_environment_of_the_older_documents_works() {
    let loaded = Config::load(&env(&[
        ("NODE_MANAGEMENT_PORT", "9001"),
        ("MONGODB_URI", "mongodb://user:hunter2@mongodb:27017/lucid_nodes"),
        ("REDIS_URI", "redis://redis:6379/2"),
        ("BLOCKCHAIN_URL", "http://blockchain-core:8084"),
        ("TRON_PAYMENT_URL", "http://tron-payment:8085"),
        ("API_GATEWAY_URL", "http://api-gateway:8080"),
        ("POOT_MIN_OBSERVATION_TIME", "7200"),
        ("POOT_SCORE_MULTIPLIER", "1.25"),
        ("POOT_CALCULATION_INTERVAL", "600"),
        ("PAYOUT_MIN_AMOUNT_USDT", "10.0"),
        ("PAYOUT_THRESHOLD_USDT", "10"),
        ("PAYOUT_FREQUENCY_HOURS", "48"),
        ("PAYOUT_PROCESSING_INTERVAL", "1800"),
        ("MAX_NODES_PER_POOL", "1000"),
        ("LOG_LEVEL", "INFO"),
        ("HOME", "/nobody"),
    ]))
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9001");
    assert_eq!(config.poot.min_observation_seconds, 7200);
    assert_eq!(config.poot.score_multiplier.to_string(), "1.25");
    assert_eq!(config.poot.calculation_interval_seconds, 600);
    assert_eq!((config.payout.frequency_hours, config.payout.processing_interval_seconds), (48, 1800));
    assert_eq!(config.pools.max_nodes_per_pool, 1000);
    assert_eq!(config.payout.threshold_usdt.units, Units(10_000_000));
    assert_eq!(config.blockchain.url.as_deref(), Some("http://blockchain-core:8084"));
    assert_eq!(config.mongodb.uri.as_ref().map(Secret::reveal), Some("mongodb://user:hunter2@mongodb:27017/lucid_nodes"));
    assert_eq!(loaded.notes.len(), 1);
    assert!(loaded.notes[0].contains("REDIS_URI"));
}

#[test]
fn secrets_are_in_no_output() {
    let secret = ("MONGODB_URI", "mongodb://user:hunter2@db/x");
    let loaded = Config::load(&env(&[secret])).unwrap();
    let shown = format!("{loaded:?} {:?} {}", loaded.config, loaded.to_toml());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(loaded.to_toml().contains("uri = \"***\"  # from env:MONGODB_URI"));
    let wrong = errors(&env(&[("MONGODB_URI", "postgres://user:hunter2@db"), ("BLOCKCHAIN_URL", "http://u:hunter2@x")])).join(" ");
    assert!(wrong.contains("mongodb.uri") && !wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn secrets_can_come_from_files() {
    let holder = written("mongodb://db/x\n");
    let path = holder.path().to_string_lossy().into_owned();
    for name in ["MONGODB_URI_FILE", "LUCID__MONGODB__URI_FILE"] {
        let loaded = Config::load(&env(&[(name, &path)])).unwrap();
        assert_eq!(loaded.config.mongodb.uri.as_ref().map(Secret::reveal), Some("mongodb://db/x"), "{name}");
    }
    let missing = errors(&env(&[("MONGODB_URI_FILE", "/nonexistent/secret")]));
    assert!(missing[0].contains("/nonexistent/secret cannot be read"), "{missing:?}");
    let not_secret = errors(&env(&[("LUCID__SERVER__LISTEN_FILE", &path)]));
    assert!(not_secret[0].contains("is no setting"), "{not_secret:?}");
}

#[test]
fn all_errors_are_told_at_once_with_key_value_origin_and_rule() {
    let (guard, mut sources) = file("[poot]\ncalculation_interval_seconds = 100\n[pool]\nx = 1\n[server]\nlisten = [1]\n");
    sources.environment = env(&[("LUCID__LIMITS__MAX_NODES", "10001"), ("POOT_SCORE_MULTIPLIER", "0.9")]).environment;
    let found = errors(&sources);
    let path = guard.path().display();
    assert_eq!(found.len(), 5, "{found:#?}");
    let expect = [
        format!("pool.x (from file:{path}:4): is no setting; `serve --print-config` lists them all"),
        format!("server.listen (from file:{path}:6): must be an address and a port, such as 127.0.0.1:8095 or [::1]:8095; port 0 picks a free one"),
        "limits.max_nodes = \"10001\" (from env:LUCID__LIMITS__MAX_NODES): must be a whole number from 1 to 10000".into(),
        "poot.score_multiplier = \"0.9\" (from env:POOT_SCORE_MULTIPLIER): must be a decimal number from 1 to 10 with at most 2 decimal places"
            .into(),
        format!("poot.calculation_interval_seconds = \"100\" (from file:{path}:2): must be a multiple of 30 seconds that divides a day (86400)"),
    ];
    for line in expect {
        assert!(found.contains(&line), "{line}\nin {found:#?}");
    }
}

#[test]
fn unknown_names_get_a_suggestion() {
    for (text, suggestion) in [
        ("[server]\nlisten_addr = \"x\"\n", None),
        ("[server]\nlisen = \"127.0.0.1:1\"\n", Some("server.listen")),
        ("[server]\ndata_dir = \"x\"\n", Some("storage.data_dir")),
        ("[payouts]\nmode = \"dry_run\"\n", Some("payout.mode")),
    ] {
        let (_guard, sources) = file(text);
        let found = errors(&sources);
        assert_eq!(found.len(), 1);
        match suggestion {
            Some(name) => assert!(found[0].ends_with(&format!("did you mean {name}?")), "{found:?}"),
            None => assert!(found[0].contains("lists them all"), "{found:?}"),
        }
    }
    let found = errors(&env(&[("LUCID__PAYOUT__THRESHOLD", "10"), ("LUCID__POOL__MAX_NODES_PER_POOL", "10")]));
    assert!(found.iter().any(|e| e.contains("did you mean LUCID__POOLS__MAX_NODES_PER_POOL?")), "{found:?}");
    let (_guard, sources) = file("listen = \"127.0.0.1:1\"\n");
    assert!(errors(&sources)[0].contains("must stand in a section, such as [server]"));
}

#[test]
fn names_that_disagree_are_refused() {
    let found = errors(&env(&[("PAYOUT_MIN_AMOUNT_USDT", "5"), ("PAYOUT_THRESHOLD_USDT", "10")]));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("PAYOUT_THRESHOLD_USDT and PAYOUT_MIN_AMOUNT_USDT both set it"), "{found:?}");
    let found = errors(&env(&[("NODE_MANAGEMENT_PORT", "1"), ("LUCID__SERVER__LISTEN", "127.0.0.1:2")]));
    assert!(found[0].contains("LUCID__SERVER__LISTEN and NODE_MANAGEMENT_PORT"), "{found:?}");
    assert!(errors(&env(&[("NODE_MANAGEMENT_PORT", "2"), ("LUCID__SERVER__LISTEN", "[::1]:2")])).is_empty());
}

#[test]
fn what_would_be_unsafe_or_does_not_exist_yet_is_refused_with_the_reason() {
    let found = errors(&env(&[("LUCID__SERVER__LISTEN", "0.0.0.0:8095"), ("LUCID__SERVER__TLS", "off"), ("LUCID__PAYOUT__MODE", "live")]));
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("travel in clear") && found[0].contains("allow_plain_http"), "{found:?}");
    assert!(found[1].contains("must be tron or payment_service for payout.mode = live"), "{found:?}");
    let open = [("LUCID__SERVER__LISTEN", "0.0.0.0:8095"), ("LUCID__SERVER__ALLOW_PLAIN_HTTP", "true")];
    let config = Config::load(&env(&open)).unwrap().config;
    assert!(config.server.public_url().ends_with(":8095") && !config.server.public_url().contains("0.0.0.0"));
    let at = |url, more: &[(&str, &str)]| {
        let mut sources = vec![("LUCID__WEBHOOKS__PAYOUTS_URL", url)];
        sources.extend(more);
        Config::load(&env(&sources)).is_ok()
    };
    assert!(at("https://example.org/steps", &[]) && !at("http://192.168.1.9/steps", &[]), "a message would never leave");
    assert!(at("http://192.168.1.9/steps", &[("LUCID__WEBHOOKS__ALLOW_PRIVATE", "true")]));
}

#[test]
fn addresses_that_people_are_told_fit_the_listeners() {
    let urls = |pairs: &[(&str, &str)]| {
        let server = Config::load(&env(pairs)).unwrap().config.server;
        (server.public_url(), server.agent_url())
    };
    let same = |url: &str| (url.to_owned(), url.to_owned());
    assert_eq!(urls(&[]), same("http://127.0.0.1:8095"));
    assert_eq!(urls(&[("LUCID__SERVER__TLS", "required")]), same("https://127.0.0.1:8095"));
    let (listen, node) = (("LUCID__SERVER__LISTEN", "192.0.2.7:8095"), ("LUCID__SERVER__NODE_LISTEN", "0.0.0.0:9000"));
    assert_eq!(urls(&[listen]), same("https://192.0.2.7:8095"));
    assert_eq!(urls(&[listen, ("LUCID__SERVER__ALLOW_PLAIN_HTTP", "true")]), same("http://192.0.2.7:8095"));
    let public = ("LUCID__SERVER__PUBLIC_URL", "https://pi.local/");
    assert_eq!(urls(&[listen, public]), same("https://pi.local"));
    assert_eq!(urls(&[node, public]), ("https://pi.local".into(), "https://pi.local:9000".into()));
    assert_eq!(urls(&[("LUCID__SERVER__NODE_LISTEN", "127.0.0.1:9000")]).1, "http://127.0.0.1:9000");
}

#[test]
fn settings_of_tls_and_listeners_must_go_together() {
    let first = |pairs: &[(&str, &str)]| errors(&env(pairs)).first().cloned().unwrap_or_default();
    let (certificate, key) = (("LUCID__SERVER__CERTIFICATE_FILE", "/c.pem"), ("LUCID__SERVER__KEY_FILE", "/k.pem"));
    assert!(first(&[certificate]).starts_with("server.key_file"));
    assert!(first(&[key]).starts_with("server.certificate_file"));
    assert_eq!(first(&[certificate, key]), "");
    assert!(first(&[certificate, key, ("LUCID__SERVER__TLS", "off")]).starts_with("server.certificate_file"));
    assert!(
        first(&[("LUCID__SERVER__TLS", "required"), ("LUCID__SERVER__ALLOW_PLAIN_HTTP", "true")]).starts_with("server.allow_plain_http")
    );
    assert!(first(&[("LUCID__SERVER__OPS_LISTEN", "127.0.0.1:8095")]).starts_with("server.ops_listen"));
    assert_eq!(first(&[("LUCID__SERVER__OPS_LISTEN", "127.0.0.1:0"), ("LUCID__SERVER__LISTEN", "127.0.0.1:0")]), "");
    let hosts =
        Config::load(&env(&[("LUCID__SERVER__ALLOWED_HOSTS", "nodes.example, 192.0.2.9,::1")])).unwrap().config.server.allowed_hosts;
    assert_eq!(hosts, ["nodes.example", "192.0.2.9", "::1"]);
}

#[test]
fn values_are_checked_at_each_bound() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("server.listen", &["[::1]:1", "127.9.9.9:65535", "127.0.0.1:0"], &["127.0.0.1", "localhost:80", "127.0.0.1:65536", ""]),
        (
            "server.public_url",
            &["", "https://pi.local", "http://[::1]:8095/lucid"],
            &["pi.local", "ftp://x", "http://u:p@x", "http://x/?q"],
        ),
        ("server.tls", &["auto", "OFF", "required"], &["on", ""]),
        ("server.allowed_hosts", &["", "pi", "a.b, 192.0.2.1"], &["*", "a b", "pi:8095", "a,,b", "https://pi"]),
        ("server.node_listen", &["", "127.0.0.1:1"], &["127.0.0.1"]),
        ("storage.flush_seconds", &["auto", "5", "300"], &["4", "301", "Auto ", "-5", ""]),
        ("backup.at", &["00:00", "03:30", "23:59"], &["", "24:00", "3:30", "03:60"]),
        ("backup.dir", &["", "/mnt/usb/backups"], &["backups"]),
        ("backup.keep", &["1", "1000"], &["0", "1001"]),
        ("poot.calculation_interval_seconds", &["30", "300", "86400"], &["0", "15", "420", "172800", "+300", "3e2"]),
        ("poot.min_score", &["0", "100", "49.99"], &["-0.01", "100.01", "49.999", "NaN", "1e400"]),
        ("poot.score_multiplier", &["1", "1.01", "10", "15e-1"], &["0.99", "10.01", "1.001"]),
        ("payout.threshold_usdt", &["0.000001", "10.500000", "1000000"], &["0", "0.0000001", "-1", "1000000.000001", "1,5"]),
        ("default_pool.cost_per_hour", &["0", "0.000001", "1000"], &["1000.1", "0.0000001", "-1"]),
        ("default_pool.reward_per_hour", &["", "0.06"], &["0.0000001"]),
        ("clock.trust", &["earned", "ALWAYS"], &["never", ""]),
        ("log.level", &["INFO", "warning", "info,lucid::storage=debug", "off"], &["", "verbose", "lucid", "info,lucid=loud"]),
        ("log.max_files", &["0", "100"], &["101"]),
        ("mongodb.uri", &["", "mongodb://a.b,c.d:27018/x"], &["http://a", "mongodb://", "mongodb+srv://a.b/x"]),
        ("mongodb.region", &["", "eu-central"], &["a\nb"]),
        ("mongodb.limit_kb_per_second", &["0", "1000000"], &["-1", "1000001"]),
        ("mongodb.lag_alert_minutes", &["0", "60", "100000"], &["-1", "100001"]),
        ("mongodb.hourly_metrics", &["true", "false"], &["yes"]),
        ("mongodb.raw_metrics", &["true", "false"], &["yes"]),
        ("webhooks.payouts_url", &["", "https://a.example/x?y=1"], &["ftp://a", "http://u:p@a", "a"]),
        ("storage.data_dir", &["a b", "/x"], &[""]),
        ("access.jwt_secret_key", &["", "12345678901234567890123456789012"], &["1234567890123456789012345678901"]),
        ("access.jwt_issuer", &["", "gateway"], &["a\nb"]),
        ("server.allow_plain_http", &["true", "False"], &["yes", "1"]),
    ];
    for (key, good, bad) in cases {
        let name = format!("LUCID__{}", key.replace('.', "__").to_uppercase());
        for text in *good {
            assert_eq!(errors(&env(&[(&name, text)])), Vec::<String>::new(), "{key} = {text:?}");
        }
        for text in *bad {
            let found = errors(&env(&[(&name, text)]));
            assert!(found.len() == 1 && found[0].starts_with(key), "{key} = {text:?}: {found:?}");
        }
    }
}

#[test]
fn decimals_in_a_file_are_exact() {
    let (_guard, sources) =
        file("[payout]\nthreshold_usdt = 0.100001\n[default_pool]\ncost_per_hour = 1_0.5\n[poot]\nscore_multiplier = \"1.5\"\n");
    let config = Config::load(&sources).unwrap().config;
    assert_eq!(config.payout.threshold_usdt.units, Units(100_001));
    assert_eq!(config.default_pool.pricing().cost_per_hour, Units(10_500_000));
    let (_guard, sources) = file("[payout]\nthreshold_usdt = 0.1000001\n");
    assert_eq!(errors(&sources).len(), 1, "never rounded");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let loaded = Config::load(&env(&[("LOG_LEVEL", "info,a\"b=debug"), ("POOT_SCORE_MULTIPLIER", "15e-1")])).unwrap();
    let printed = loaded.to_toml();
    assert!(printed.contains("score_multiplier = \"15e-1\"  # from env:POOT_SCORE_MULTIPLIER"), "{printed}");
    assert!(printed.starts_with("[server]\nlisten = \"127.0.0.1:8095\"  # from default\n"), "{printed}");
    let (_guard, sources) = file(&printed);
    // The same values, from elsewhere.
    let values = |loaded: Loaded| Config { listed: Vec::new(), ..loaded.config };
    assert_eq!(values(Config::load(&sources).unwrap()), values(loaded));
}

#[test]
fn broken_files_are_named_with_their_line() {
    let (_guard, sources) = file("[server]\nlisten = \n");
    assert!(errors(&sources)[0].contains(":2: is not TOML"), "{:?}", errors(&sources));
    let missing = Sources { file: Some(PathBuf::from("/nonexistent/lucid.toml")), ..Sources::default() };
    assert!(errors(&missing)[0].contains("/nonexistent/lucid.toml: cannot be read"), "{:?}", errors(&missing));
    let (_guard, sources) = file(&"# padding\n".repeat(200_000));
    assert!(errors(&sources)[0].contains("larger"));
}

#[test]
fn the_readme_has_the_table_of_settings() {
    let table = markdown_table();
    assert_eq!(table.lines().count(), settings::keys().len() + 2);
    assert!(table.contains("| `payout.threshold_usdt` | `10` |"), "{table}");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap_or_else(|_| table.clone());
    assert!(readme.contains(&table), "README.md must contain this table:\n{table}");
}

#[test]
fn the_list_for_people_has_origins_and_no_secrets() {
    let (_kept, mut sources) = file("[limits]\nmax_nodes = 12\n");
    sources.environment = env(&[("MONGODB_URI", "mongodb://lucid:hush@db/x"), ("LOG_LEVEL", "warn")]).environment;
    sources.flags = vec![("server.listen", "--listen", "127.0.0.1:1".to_owned())];
    let listed = Config::load(&sources).unwrap().config.listed;
    let of = |key: &str| listed.iter().find(|setting| setting.key == key).unwrap();
    assert_eq!((of("limits.max_nodes").value.as_str(), of("limits.max_nodes").default.as_str()), ("12", "10000"));
    assert!(matches!(of("limits.max_nodes").origin, Origin::File { line: 2, .. }));
    assert_eq!(of("server.listen").origin, Origin::Flag("--listen"));
    assert_eq!(of("log.level").origin, Origin::Env("LOG_LEVEL".into()));
    assert_eq!((of("mongodb.uri").value.as_str(), of("mongodb.uri").default.as_str()), ("set", "not set"));
    assert_eq!(of("payout.mode").origin, Origin::Default);
    assert!(!format!("{listed:?}").contains("hush"));
    assert!(listed.iter().all(|setting| !setting.allowed.is_empty() && !setting.meaning.is_empty()));
}
