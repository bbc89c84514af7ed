//! What a hook is called for, and with what.

use serde_json::{Value, json};

use super::has;
use crate::harness::daemon::{each, once};
use crate::harness::wait::until;

#[test]
fn a_lease_opens_and_closes_its_box_step_by_step() {
    each(|shop| {
        shop.with_hook("20s");
        let rented = shop.paid_box();
        let lease = shop.lease_in(&rented, "active");
        assert!(lease["access"].is_null(), "access is for the holder only");
        assert_eq!(shop.held(&rented)["access"], json!({ "host": "box.test", "port": 22 }));
        shop.called_for(&rented, &["provision"]);
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        shop.called_for(&rented, &["provision", "extend"]);
        shop.shift_clock(7200 + 60);
        shop.lease_in(&rented, "grace");
        shop.called_for(&rented, &["provision", "extend", "suspend"]);
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        shop.lease_in(&rented, "active");
        shop.called_for(&rented, &["provision", "extend", "suspend", "extend", "resume"]);
        let path = format!("/v1/leases/{}/return", rented.lease);
        shop.post(&path, Some(&rented.claim), &json!({}));
        let all = ["provision", "extend", "suspend", "extend", "resume", "release"];
        shop.called_for(&rented, &all);
        until("the unit to be free", || {
            let (_, resource) = shop.get("/v1/resources/box");
            (resource["availability"]["free"] == 2).then_some(()).ok_or(resource)
        });
        assert!(shop.held(&rented)["access"].is_null());
    });
}

#[test]
fn changed_params_reach_the_hook() {
    once(|shop| {
        shop.with_hook("20s");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        shop.hook_does("update", "env > environment");
        let path = format!("/v1/leases/{}", rented.lease);
        let body = json!({ "params": { "name": "maria" } });
        let (status, answer) =
            shop.ask(reqwest::Method::PATCH, &path, Some(&rented.claim), Some(&body));
        assert_eq!(status, 200, "{answer}");
        shop.called_for(&rented, &["provision", "update"]);
        until("the hook to have written", || {
            let found = std::fs::read_to_string(shop.folder().join("environment"));
            let found = found.map_err(|error| error.to_string())?;
            let name = "LEASEHOLD_PARAM_NAME=maria";
            if found.lines().any(|line| line == name) { Ok(()) } else { Err(found) }
        });
    });
}

#[test]
fn a_hook_gets_its_environment_and_the_same_as_json_and_nothing_else() {
    once(|shop| {
        shop.with_hook("20s");
        shop.variables.push(("LEASEHOLD_TEST_SECRET", "not for hooks".into()));
        shop.stop();
        shop.start();
        shop.hook_does("provision", "env | sort > environment; pwd > where");
        let body = json!({ "resource": "box", "duration_s": 3600, "params": { "name": "luis" } });
        let answer = shop.post("/v1/leases", None, &body);
        let rented = crate::harness::daemon::Shop::rented(&answer);
        shop.node.send(&rented.address, 3600);
        shop.node.mine(1);
        shop.lease_in(&rented, "active");
        let read = |name: &str| std::fs::read_to_string(shop.folder().join(name)).unwrap();
        let environment = read("environment");
        for line in [
            "LEASEHOLD_ACTION=provision",
            &format!("LEASEHOLD_LEASE={}", rented.lease),
            "LEASEHOLD_RESOURCE=box",
            "LEASEHOLD_UNIT=1",
            "LEASEHOLD_GENERATION=1",
            "LEASEHOLD_PARAM_NAME=luis",
        ] {
            assert!(environment.lines().any(|it| it == line), "{line} in {environment}");
        }
        assert!(!environment.contains("not for hooks"), "{environment}");
        let input: Value = serde_json::from_str(read("inputs").lines().next().unwrap()).unwrap();
        assert_eq!(input["key"], format!("{}/1/provision/1", rented.lease));
        assert_eq!((&input["unit"], &input["params"]["name"]), (&json!("1"), &json!("luis")));
        // Params that the catalogue does not allow never come so far.
        let body = json!({ "resource": "box", "duration_s": 3600, "params": { "name": "L;rm" } });
        let (status, answer) = shop.ask(reqwest::Method::POST, "/v1/leases", None, Some(&body));
        assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/params/name")));
    });
}

#[test]
fn the_clock_starts_when_the_box_is_ready() {
    once(|shop| {
        shop.with_hook("20s");
        shop.hook_does("provision", "[ -e ready ] || exit 75");
        let rented = shop.paid_box();
        let lease = shop.lease_until("a failure", &rented.lease, |it| has(it, "provisioner_error"));
        assert_eq!(lease["state"], "provisioning");
        shop.shift_clock(3000);
        std::fs::write(shop.folder().join("ready"), "").unwrap();
        let lease = shop.lease_in(&rented, "active");
        assert!(!has(&lease, "provisioner_error"), "{lease}");
        assert!(lease["remaining_s"].as_u64().unwrap() > 3500, "no second is lost: {lease}");
    });
}
