//! `/openapi.json` and what it promises: a validator reads it, and schemathesis calls everything
//! that it describes, with what fits and with what does not, as anybody, as a customer and as an
//! operator.

use serde_json::{Value, json};

use crate::harness::daemon::{Shop, once, once_with};
use crate::harness::peers::{left_out, python};
use crate::harness::wait::until;

/// Requests made up for each call and phase, in the everyday tier and in the long one.
const EXAMPLES: (&str, &str) = ("8", "100");

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";

/// Ids that lead somewhere; the rest is made up. A long poll would only wait, and a catalogue
/// that was made up would close the shop. 503 is right where there may be too much for now: a
/// second rescan, one more unpaid unit.
fn settings(ids: &[(&str, &str)]) -> String {
    let mut text = String::from(
        "max-stream-events = 1\nrequest-timeout = 20\n\
         [parameters]\n\"query.wait_s\" = 0\n\"query.dry_run\" = true\n\
         [reports]\ndirectory = \"reports\"\n\
         [[operations]]\ninclude-path-regex = \"^/v1/(admin/rescan|leases)$\"\n\
         [operations.checks.not_a_server_error]\n\
         expected-statuses = [\"2xx\", \"4xx\", 503]\n",
    );
    for (n, (path, id)) in ids.iter().enumerate() {
        text.push_str(&format!(
            "[dictionaries.ids{n}]\nvalues = [\"{id}\"]\n[[operations]]\n\
             include-path-regex = \"{path}\"\n[operations.parameters]\n\
             \"path.id\" = {{ dictionary = \"ids{n}\", probability = 0.8 }}\n\
             \"path.resource\" = {{ dictionary = \"ids{n}\", probability = 0.8 }}\n"
        ));
    }
    text
}

/// The description without its word that there may be any other problem; instead of it, what the
/// layers around all calls answer.
fn strict(shop: &Shop) -> String {
    let mut document: Value = serde_json::from_str(&shop.ask_text("/openapi.json")).unwrap();
    let paths = document["paths"].as_object_mut().expect("paths");
    let items = paths.values_mut().filter_map(Value::as_object_mut);
    for operation in items.flat_map(|item| item.values_mut()) {
        let responses = operation["responses"].as_object_mut().expect("responses");
        let any = responses.remove("default").expect("it is described");
        for status in ["405", "429", "503"] {
            responses.entry(status).or_insert_with(|| any.clone());
        }
    }
    document.to_string()
}

/// Calls everything as whoever has `bearer`; what was not as described.
fn call_everything(shop: &Shop, bearer: Option<&str>) -> Option<String> {
    let long = std::env::var_os("LEASEHOLD_TEST_LONG").is_some();
    std::fs::write(shop.folder().join("strict.json"), strict(shop)).unwrap();
    let mut command = python();
    command
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .args(["strict.json", "--url", shop.url(), "--checks", CHECKS])
        .args(["--no-color", "--warnings", "off", "--continue-on-failure"])
        .args(["--max-examples", if long { EXAMPLES.1 } else { EXAMPLES.0 }])
        .arg(if long { "--generation-database=none" } else { "--generation-deterministic" });
    if let Some(bearer) = bearer {
        command.arg(format!("--header=Authorization: Bearer {bearer}"));
        // After it, a customer would ask with a token that is worth nothing.
        command.args(["--exclude-path", "/v1/leases/{id}/rotate-claim"]);
    }
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/oracles/bodies.py");
    let output = command.current_dir(shop.folder()).env("SCHEMATHESIS_HOOKS", hooks).output();
    let output = output.expect("Python starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    (!output.status.success()).then(|| format!("{}:\n{said}\n", output.status))
}

#[test]
fn the_description_of_the_calls_is_valid_and_the_one_that_is_printed() {
    if left_out("python") {
        return;
    }
    once(|shop| {
        let served = shop.ask_text("/openapi.json");
        let file = shop.folder().join("openapi.json");
        std::fs::write(&file, &served).unwrap();
        let output = python()
            .args(["-m", "openapi_spec_validator", "--validation-errors", "all"])
            .arg(&file)
            .output()
            .expect("Python starts");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        let printed = shop.command(&["openapi"]).output().expect("the built program starts");
        let json = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
        assert_eq!(json(&printed.stdout), json(served.as_bytes()));
    });
}

#[test]
fn every_call_answers_as_it_is_described_whatever_it_is_asked() {
    if left_out("python") {
        return;
    }
    once_with("max_open_unpaid = 100000", |shop| {
        let rented = shop.rent("shared", 7200);
        shop.node.send(&rented.address, rented.amount_sat);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        let admin = std::fs::read_to_string(shop.folder().join("admin.key")).unwrap();
        let admin = admin.trim();
        let (_, payments) = shop.ask(reqwest::Method::GET, "/v1/admin/payments", Some(admin), None);
        let payment = payments["items"][0]["id"].as_str().expect("an id");
        let hook = shop.post(
            "/v1/admin/webhooks",
            Some(admin),
            &json!({ "url": "https://hooks.invalid/in", "types": ["webhook.*"] }),
        );
        let hook = hook["webhook"]["id"].as_str().expect("an id");
        shop.ask(
            reqwest::Method::POST,
            &format!("/v1/admin/webhooks/{hook}/test"),
            Some(admin),
            None,
        );
        let delivery = until("a delivery", || {
            let path = "/v1/admin/deliveries";
            let (_, list) = shop.ask(reqwest::Method::GET, path, Some(admin), None);
            list["items"][0]["id"].as_str().map(str::to_owned).ok_or(list)
        });
        let ids = [
            ("^/v1/(admin/)?resources/", "shared"),
            ("^/v1/gate/", "shared"),
            ("^/v1/(admin/)?leases/", &rented.lease),
            ("^/v1/(admin/)?invoices/", &rented.invoice),
            ("^/v1/admin/payments/", payment),
            ("^/v1/admin/webhooks/", hook),
            ("^/v1/admin/deliveries/", &delivery),
        ];
        std::fs::write(shop.folder().join("schemathesis.toml"), settings(&ids)).unwrap();
        let join = json!({ "resource": "box", "duration_s": 3600 });
        shop.post("/v1/leases", Some(&rented.claim), &join);
        let everybody = [None, Some(rented.claim.as_str()), Some(admin)];
        let wrong: Vec<String> =
            everybody.iter().filter_map(|bearer| call_everything(shop, *bearer)).collect();
        assert!(wrong.is_empty(), "{}", wrong.concat());
        let made = shop.events().iter().filter(|event| event.kind == "lease.created").count();
        assert!(made >= 5, "only {made} leases were made: too few requests can succeed");
    });
}
