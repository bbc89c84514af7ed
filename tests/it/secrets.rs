//! Secrets stay with whoever has them: a server that logs everything is used in every way that
//! shows it one, and none is found afterwards in its database, its log or its metrics.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Column as _, Row as _};

use crate::harness::daemon::{Shop, each, once, once_with};
use crate::harness::guarded::Visitor;
use crate::harness::wait::until;

/// Characters of a claim token or API key after its prefix.
const SECRET_CHARACTERS: usize = 52;

/// What must be found nowhere: by name, so that a failure does not print it either.
type Secrets = BTreeMap<String, String>;

fn read(shop: &Shop, file: &str) -> String {
    let path = shop.folder().join(file);
    let text = std::fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// Starts the server anew: it logs everything, and has the node's password in its configuration.
fn with_open_ears(shop: &mut Shop, secrets: &mut Secrets) {
    shop.stop();
    let login = std::fs::read_to_string(shop.node.cookie_file()).expect("the node runs");
    let (user, password) = login.split_once(':').expect("a cookie is user:password");
    let mut config: Vec<String> = read(shop, "leasehold.toml").lines().map(str::to_owned).collect();
    let cookie = config.iter_mut().find(|line| line.starts_with("cookie_file"));
    *cookie.expect("a cookie is used") =
        format!("rpc_user = \"{user}\"\nrpc_password = \"{password}\"");
    std::fs::write(shop.folder().join("leasehold.toml"), config.join("\n"))
        .expect("the folder is ours");
    secrets.insert("the node's password".into(), password.to_owned());
    shop.variables.push(("LEASEHOLD_LOG", "trace".into()));
    shop.start();
}

/// A request with an Idempotency-Key, which is a secret of the caller.
fn create(shop: &Shop, path: &str, key: &str, bearer: Option<&str>, body: &Value) -> Value {
    let headers = [("idempotency-key", key)];
    let (status, answer) = shop.ask_with(Method::POST, path, &headers, bearer, Some(body));
    assert_eq!(status, 201, "{answer}");
    answer
}

/// Uses claim tokens and Idempotency-Keys; answers a lease with the token that manages it.
fn as_a_customer(shop: &Shop, secrets: &mut Secrets) -> (String, String) {
    let body = json!({ "resource": "shared", "duration_s": 3600 });
    let (first, second) = ("first-key-of-a-customer-1", "second-key-of-a-customer-2");
    let made = create(shop, "/v1/leases", first, None, &body);
    assert_eq!(create(shop, "/v1/leases", first, None, &body), made);
    let (lease, old) = (text(&made["lease"]["id"]), text(&made["claim_token"]));
    let path = |end: &str| format!("/v1/leases/{lease}{end}");
    let other = json!({ "resource": "box", "duration_s": 3600 });
    let headers = [("idempotency-key", first)];
    let reused = shop.ask_with(Method::POST, "/v1/leases", &headers, None, Some(&other));
    assert_eq!(reused.0, 422);
    create(shop, &path("/invoices"), second, None, &json!({ "duration_s": 60 }));
    let third = "third-key-of-a-customer-3";
    create(shop, "/v1/leases", third, Some(&old), &other);
    shop.node.send(&text(&made["invoice"]["address"]), 3600);
    shop.node.mine(1);
    shop.lease_until("the lease to be active", &lease, |lease| lease["state"] == "active");

    let rotated = shop.post(&path("/rotate-claim"), Some(&old), &json!({}));
    let new = text(&rotated["claim_token"]);
    let nobody = format!("clm_{}", "a7".repeat(SECRET_CHARACTERS / 2));
    for wrong in [&old, &nobody, &format!("{nobody}x")] {
        for (method, end) in [(Method::GET, ""), (Method::POST, "/return")] {
            let (status, answer) = shop.ask(method, &path(end), Some(wrong), None);
            // What is no token at all is not looked at where none is needed.
            assert!(status == 401, "{status} {answer}");
        }
    }
    // Where a claim token does not belong.
    for body in [json!({ "claim_token": new }), json!({ "amount_sat": new }), json!(new)] {
        let (status, answer) = shop.ask(Method::POST, &path("/invoices"), None, Some(&body));
        assert_eq!(status, 422, "{answer}");
    }
    let token = text(&shop.post(&path("/token"), Some(&new), &json!({}))["token"]);
    secrets.insert("the first Idempotency-Key".into(), first.to_owned());
    secrets.insert("the second Idempotency-Key".into(), second.to_owned());
    secrets.insert("the third Idempotency-Key".into(), third.to_owned());
    secrets.insert("the first claim token".into(), old);
    secrets.insert("the claim token".into(), new.clone());
    secrets.insert("a wrong claim token".into(), nobody);
    secrets.insert("a lease token".into(), token.clone());
    let signature = token.rsplit('.').next().expect("it has parts").to_owned();
    let wrong = token.replace(&signature, &signature.chars().rev().collect::<String>());
    for token in [&token, &wrong] {
        let status = shop.ask(Method::GET, "/v1/gate/shared", Some(token), None).0;
        assert_eq!(status, if *token == wrong { 401 } else { 204 });
    }
    secrets.insert("its signature".into(), signature);
    with_a_browser(shop, &lease, &new, secrets);
    (lease, new)
}

/// Makes a code for the gate, enters with it, once in vain and once with another one.
fn with_a_browser(shop: &Shop, lease: &str, claim: &str, secrets: &mut Secrets) {
    let made = shop.post(&format!("/v1/leases/{lease}/gate-code"), Some(claim), &json!({}));
    let (code, url) = (text(&made["code"]), text(&made["url"]));
    let mut browser = Visitor::browser();
    let nobody = format!("cod_{}", "c5".repeat(SECRET_CHARACTERS / 2));
    for (url, status) in [(url.replace(&code, &nobody), 401), (url.clone(), 303), (url, 401)] {
        assert_eq!(browser.get(&url, &[]).status, status);
    }
    let gate = format!("{}/v1/gate/shared", shop.url());
    assert_eq!(browser.get(&gate, &[]).status, 204);
    let session = browser.cookies(shop.url())["leasehold"].clone();
    let signature = session.rsplit('.').next().expect("it has parts").to_owned();
    browser.cookies(shop.url()).insert("leasehold".into(), format!("x{session}"));
    assert_eq!(browser.get(&gate, &[]).status, 401);
    secrets.insert("a code for the gate".into(), code);
    secrets.insert("a wrong code for the gate".into(), nobody);
    secrets.insert("a gate session".into(), session);
    secrets.insert("the signature of a gate session".into(), signature);
}

/// Uses API keys, a revoked one and a wrong one, and shows the server a lease token.
fn as_an_operator(shop: &Shop, lease: &str, secrets: &mut Secrets) {
    let admin = read(shop, "admin.key");
    let body = json!({ "name": "monitor", "scopes": ["read"] });
    let made = shop.post("/v1/admin/keys", Some(&admin), &body);
    let (id, key) = (text(&made["key"]["id"]), text(&made["token"]));
    let path = format!("/v1/admin/leases/{lease}");
    let ask = |key: &str| shop.ask(Method::GET, &path, Some(key), None).0;
    assert_eq!(ask(&key), 200);
    assert_eq!(shop.ask(Method::GET, "/v1/admin/keys", Some(&key), None).0, 403);
    let form = format!("token={}", secrets["a lease token"]);
    let (status, answer) = shop.ask_form("/v1/introspect", &key, form);
    assert_eq!((status, &answer["active"]), (200, &json!(true)), "{answer}");
    let revoke = format!("/v1/admin/keys/{id}/revoke");
    assert_eq!(shop.ask(Method::POST, &revoke, Some(&admin), None).0, 204);
    let nobody = format!("key_{}", "b6".repeat(SECRET_CHARACTERS / 2));
    assert_eq!([ask(&key), ask(&nobody)], [401, 401]);
    secrets.insert("the first API key".into(), admin);
    secrets.insert("a revoked API key".into(), key);
    secrets.insert("a wrong API key".into(), nobody);
}

/// What the server keeps in files of its own.
fn in_files(shop: &Shop, secrets: &mut Secrets) {
    let signing: Value = serde_json::from_str(&read(shop, "lease-signing.key")).expect("JSON");
    let keys = signing["keys"].as_array().expect("a key set");
    let secret = keys.iter().find_map(|key| key["d"].as_str()).expect("a secret key");
    secrets.insert("the signing key".into(), secret.to_owned());
    let claim_secret = read(shop, "lease-signing.claim-secret");
    secrets.insert("the claim secret".into(), claim_secret);
}

/// Everything in every table, as text.
fn dumped(shop: &Shop) -> String {
    let tables = match shop.on_postgres() {
        true => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
             WHERE table_schema = 'public'"
        }
        false => "SELECT name FROM sqlite_schema WHERE type = 'table'",
    };
    shop.read(async |conn| {
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut *conn).await.unwrap();
        // The migrator's own.
        let tables = tables.iter().filter(|table| !table.starts_with("_sqlx"));
        let mut dump = String::new();
        for table in tables {
            let all = AssertSqlSafe(format!("SELECT * FROM {table}"));
            for row in sqlx::query(all).fetch_all(&mut *conn).await.unwrap() {
                for column in row.columns() {
                    let n = column.ordinal();
                    let text = row.try_get::<Option<String>, _>(n);
                    let text = text.or_else(|_| {
                        row.try_get::<Option<i64>, _>(n).map(|n| n.map(|n| n.to_string()))
                    });
                    let text = text.unwrap().unwrap_or_default();
                    dump.push_str(&format!("{table}.{}={text}\n", column.name()));
                }
            }
        }
        dump
    })
}

/// Something that looks like a claim token or an API key, without most of it.
fn look_alike(text: &str) -> Option<String> {
    let secret = |rest: &str| {
        let part = rest.get(..SECRET_CHARACTERS)?;
        part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')).then(|| part[..4].into())
    };
    ["clm_", "key_", "cod_"].iter().find_map(|prefix| {
        text.match_indices(prefix).find_map(|(at, _)| secret(&text[at + prefix.len()..]))
    })
}

#[test]
fn no_secret_is_in_the_database_the_log_or_the_metrics() {
    each(|shop| {
        let mut secrets = Secrets::new();
        with_open_ears(shop, &mut secrets);
        let (lease, claim) = as_a_customer(shop, &mut secrets);
        as_an_operator(shop, &lease, &mut secrets);
        in_files(shop, &mut secrets);
        let return_it = format!("/v1/leases/{lease}/return");
        shop.post(&return_it, Some(&claim), &json!({}));
        let metrics = shop.ask_text("/metrics");
        let dump = dumped(shop);
        shop.stop();
        let log = shop.log();
        let route = "/v1/leases/{id}/rotate-claim";
        assert!(dump.contains(&format!("lease.id={lease}")) && metrics.contains(route), "{dump}");
        assert!(log.contains("TRACE") && log.contains(route), "it does not log everything");
        for (place, text) in [("the database", &dump), ("the log", &log), ("metrics", &metrics)] {
            for (name, secret) in &secrets {
                assert!(secret.len() >= 16, "{name} is too short to be looked for");
                // Tokens also without their prefix.
                let bare = secret.get(4..).filter(|_| secret.as_bytes()[3] == b'_');
                let there = text.find(secret.as_str()).or_else(|| text.find(bare?));
                let line = there.map(|at| text[..at].lines().last().unwrap_or_default());
                assert_eq!(line, None, "{name} is in {place}; before it stands what is shown");
            }
            assert_eq!(look_alike(text), None, "a token is in {place}");
        }
    });
}

#[test]
fn a_webhook_secret_is_stored_to_sign_with_and_is_nowhere_else() {
    once_with("[webhooks]\nallow_private = true\n", |shop| {
        with_open_ears(shop, &mut Secrets::new());
        let body = json!({ "url": "http://127.0.0.1:1/" });
        let none = json!({});
        let ask = |method, path: &str, body| shop.operate(method, path, body).1;
        let made = ask(Method::POST, "webhooks", Some(&body));
        let path = format!("webhooks/{}", text(&made["webhook"]["id"]));
        let turned = ask(Method::POST, &format!("{path}/rotate"), Some(&none));
        ask(Method::POST, &format!("{path}/test"), None);
        until("a message that was signed", || {
            let list = ask(Method::GET, "deliveries", None);
            list["items"][0]["failure"].as_str().map(|_| ()).ok_or(list.clone())
        });
        let both = [&made, &turned].map(|made| text(&made["secret"])["whsec_".len()..].to_owned());
        let places = |dump: &str| both.each_ref().map(|secret| dump.matches(secret).count());
        let dump = dumped(shop);
        assert_eq!(places(&dump), [1, 1]);
        assert!(dump.contains(&format!("webhook.secret=whsec_{}", both[1])));
        assert_eq!(shop.operate(Method::DELETE, &path, None).0, 204);
        assert_eq!(places(&dumped(shop)), [0, 0], "it is gone with its endpoint");
        let metrics = shop.ask_text("/metrics");
        shop.stop();
        let log = shop.log();
        assert!(log.contains("TRACE"));
        assert_eq!((places(&log), places(&metrics)), ([0, 0], [0, 0]));
    });
}

/// The node wallet's descriptor with its private keys, and the key in it.
fn private_descriptor(shop: &Shop) -> (String, String) {
    let answer = shop.node.call_wallet("shop", "listdescriptors", json!([true]));
    let list = answer["descriptors"].as_array().expect("the wallet has descriptors");
    let mut texts = list.iter().filter_map(|entry| entry["desc"].as_str());
    let found = texts.find(|text| text.starts_with("wpkh(tprv")).expect("it has a private one");
    let text = found.split('#').next().expect("a text").replace("/0/*", "/<0;1>/*");
    let key = text["wpkh(".len()..].split('/').next().expect("a key").to_owned();
    (text, key)
}

#[test]
fn a_descriptor_with_a_private_key_is_refused_and_repeated_nowhere() {
    once(|shop| {
        shop.stop();
        let (private, key) = private_descriptor(shop);
        let public = std::mem::replace(&mut shop.descriptor, private);
        shop.write_config("");
        shop.variables.push(("LEASEHOLD_LOG", "trace".into()));
        for words in [&["serve"][..], &["check"], &["--json", "check"]] {
            let output = shop.command(words).output().expect("the built program starts");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).expect("text");
            assert!(!output.status.success() && said.contains("private key"), "{words:?}: {said}");
            assert!(!said.contains(&key[4..]), "{words:?} repeats it");
        }
        let dump = dumped(shop);
        assert!(dump.contains("keychain.descriptor=wpkh(") && !dump.contains(&key[4..]));
        shop.descriptor = public;
        shop.write_config("");
    });
}
