//! Idempotency-Keys and claim tokens: what is asked twice, who may do what, what is stored.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::desk::{Desk, at_desk, text, two_hours};
use crate::db::testing::on_sqlite;
use crate::domain::resource::tests::gpu;
use crate::worker::housekeeping;
use crate::worker::rig::Rig;

const KEY: &str = "0123456789abcdef";

fn path(lease: &Value, end: &str) -> String {
    format!("/v1/leases/{}{end}", text(lease, "/lease/id"))
}

#[test]
fn the_same_key_and_body_get_the_same_answer_again() {
    at_desk(async |desk| {
        let create = || desk.call("POST", "/v1/leases").key(KEY).json(&two_hours());
        let first = create().send().await.must(201);
        desk.rig.clock.advance_s(60);
        let second = create().send().await.must(201);
        assert_eq!(first.body, second.body);
        assert!(text(&first.body, "/claim_token").starts_with("clm_"));
        let claims = desk.call("GET", "/v1/claims").bearer(text(&first.body, "/claim_token"));
        assert_eq!(claims.send().await.must(200).body["leases"].as_array().unwrap().len(), 1);
        let other = json!({ "resource": "gpu-small", "duration_s": 7201 });
        let answer = desk.call("POST", "/v1/leases").key(KEY).json(&other).send().await;
        answer.problem(422, "idempotency_key_reused");
        let elsewhere = desk.call("POST", &path(&first.body, "/invoices")).key(KEY);
        let answer = elsewhere.json(&json!({ "duration_s": 60 })).send().await;
        answer.problem(422, "idempotency_key_reused");
        let again = desk.call("POST", "/v1/leases").key("another-key-of-16").json(&two_hours());
        assert_ne!(again.send().await.must(201).body["lease"]["id"], first.body["lease"]["id"]);
    });
}

/// A day later the answers to Idempotency-Keys are forgotten.
async fn next_day(desk: &Desk) {
    desk.rig.clock.advance_s(86_401);
    housekeeping::step(&desk.rig.db, &desk.state.clock).await.unwrap();
}

#[test]
fn a_key_used_again_after_its_day_creates_anew_under_the_same_claim() {
    at_desk(async |desk| {
        let create = || desk.call("POST", "/v1/leases").key(KEY).json(&two_hours());
        let first = create().send().await.must(201).body;
        next_day(&desk).await;
        let second = create().send().await.must(201).body;
        assert_ne!(first["lease"]["id"], second["lease"]["id"]);
        assert_eq!(first["claim_token"], second["claim_token"]);
        let claim = desk.call("GET", "/v1/claims").bearer(text(&first, "/claim_token"));
        assert_eq!(claim.send().await.must(200).body["leases"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_rotation_whose_answer_was_lost_is_asked_for_again_with_its_key() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let (old, path) = (text(&lease, "/claim_token"), path(&lease, "/rotate-claim"));
        let rotate =
            |token: &str, key: &str| desk.call("POST", &path).bearer(token).key(key).send();
        let new = rotate(old, KEY).await.must(200).body;
        assert_eq!(rotate(old, KEY).await.must(200).body, new, "the old token and its key");
        let new = text(&new, "/claim_token");
        desk.call("GET", "/v1/claims").bearer(new).send().await.must(200);
        let answer = rotate(old, "another-key-of-16").await.problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").contains("invalid_token"));
        rotate(new, KEY).await.problem(422, "idempotency_key_reused");
        let other = desk.lease().await;
        rotate(text(&other, "/claim_token"), "a-key-of-another").await.problem(403, "forbidden");
        next_day(&desk).await;
        rotate(old, KEY).await.problem(401, "unauthorized");
        let newer = rotate(new, KEY).await.must(200).body;
        assert!(text(&newer, "/claim_token") != old && text(&newer, "/claim_token") != new);
    });
}

#[test]
fn an_api_key_is_made_once_by_its_idempotency_key() {
    at_desk(async |desk| {
        let (admin, _) = desk.operator("admin", 1).await;
        let (other, _) = desk.operator("admin", 2).await;
        let path = "/v1/admin/keys";
        let body = json!({ "name": "daily", "scopes": ["read", "admin"] });
        let make = |secret: &str, body: &Value| {
            desk.call("POST", path).bearer(secret).key(KEY).json(body).send()
        };
        let first = make(&admin, &body).await.must(201).body;
        let token = text(&first, "/token").to_owned();
        desk.call("GET", path).bearer(&token).send().await.must(200);
        assert_eq!(make(&admin, &body).await.must(201).body, first);
        let answer = make(&admin, &json!({ "name": "else", "scopes": ["read"] })).await;
        answer.problem(422, "idempotency_key_reused");
        make(&other, &body).await.problem(422, "idempotency_key_reused");
        let keys = desk.call("GET", path).bearer(&admin).send().await.must(200).body;
        assert_eq!(keys["items"].as_array().unwrap().len(), 3);
        let revoke = format!("{path}/{}/revoke", text(&first, "/key/id"));
        desk.call("POST", &revoke).bearer(&admin).send().await.must(204);
        next_day(&desk).await;
        make(&admin, &body).await.problem(422, "idempotency_key_reused");
        let fresh = || desk.call("POST", path).bearer(&admin).json(&body).send();
        assert_ne!(fresh().await.must(201).body["token"], fresh().await.must(201).body["token"]);
    });
}

#[test]
fn a_top_up_is_asked_for_once_by_its_key() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let path = path(&lease, "/invoices");
        let more = || desk.call("POST", &path).key(KEY).json(&json!({ "duration_s": 3600 }));
        let first = more().send().await.must(201);
        assert_eq!(first.body, more().send().await.must(201).body);
    });
}

#[test]
fn a_key_that_is_too_short_too_long_or_not_visible_is_refused() {
    at_desk(async |desk| {
        for key in ["", "0123456789abcde", "0123456789 abcdef", &"x".repeat(256)] {
            let call = desk.call("POST", "/v1/leases").key(key).json(&two_hours());
            call.send().await.problem(422, "invalid_request");
        }
        let call = desk.call("POST", "/v1/leases").key(&"x".repeat(255)).json(&two_hours());
        call.send().await.must(201);
    });
}

#[test]
fn twenty_duplicates_at_once_create_one_lease() {
    at_desk(async |desk| {
        let create = || desk.call("POST", "/v1/leases").key(KEY).json(&two_hours()).send();
        let answers = join_all((0..20).map(|_| create())).await;
        assert!(answers.iter().all(|answer| answer.status == 201));
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
        let token = text(&answers[0].body, "/claim_token");
        let claim = desk.call("GET", "/v1/claims").bearer(token).send().await.must(200);
        assert_eq!(claim.body["leases"].as_array().unwrap().len(), 1);
        let next = desk.lease().await;
        assert_eq!(next["invoice"]["derivation_index"], 1);
    });
}

#[test]
fn a_request_with_a_claim_token_joins_that_claim() {
    at_desk(async |desk| {
        let first = desk.lease().await;
        let token = text(&first, "/claim_token");
        let join = || desk.call("POST", "/v1/leases").bearer(token).key(KEY).json(&two_hours());
        let second = join().send().await.must(201).body;
        assert_eq!(second.get("claim_token"), None);
        assert_eq!(second, join().send().await.must(201).body);
        let claim = desk.call("GET", "/v1/claims").bearer(token).send().await.must(200).body;
        assert_eq!(claim["leases"].as_array().unwrap().len(), 2);
        // Without the token it is another request: a new claim's token would open nothing.
        let call = desk.call("POST", "/v1/leases").key(KEY).json(&two_hours());
        call.send().await.problem(422, "idempotency_key_reused");
    });
}

#[test]
fn a_wrong_token_is_unauthorized_and_a_right_one_of_something_else_forbidden() {
    at_desk(async |desk| {
        let (mine, other) = (desk.lease().await, desk.lease().await);
        let nobody = format!("clm_{}", "a".repeat(52));
        for end in ["/token", "/return", "/rotate-claim"] {
            let path = path(&mine, end);
            let call = || desk.call("POST", &path);
            let answer = call().send().await.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            call().bearer(&nobody).send().await.problem(401, "unauthorized");
            call().bearer("junk").send().await.problem(401, "unauthorized");
            let call = call().bearer(text(&other, "/claim_token"));
            call.send().await.problem(403, "forbidden");
        }
        let path = path(&mine, "");
        let get = |token: &str| desk.call("GET", &path).bearer(token).send();
        get(&nobody).await.problem(401, "unauthorized");
        get(text(&other, "/claim_token")).await.problem(403, "forbidden");
        let held = get(text(&mine, "/claim_token")).await.must(200).body;
        assert_eq!((&held["params"], held.get("access")), (&json!({}), Some(&json!(null))));
        let public = desk.get(&path).await.must(200).body;
        assert_eq!((public.get("params"), public.get("access")), (None, None));
        desk.get("/v1/claims").await.problem(401, "unauthorized");
        let patch = desk.call("PATCH", &path).bearer(text(&other, "/claim_token"));
        patch.json(&json!({ "params": {} })).send().await.problem(403, "forbidden");
    });
}

#[test]
fn rotation_makes_the_old_token_worthless_for_everything_under_the_claim() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let old = text(&lease, "/claim_token");
        let rotated = desk.call("POST", &path(&lease, "/rotate-claim")).bearer(old).send().await;
        let rotated = rotated.must(200).body;
        let new = text(&rotated, "/claim_token");
        assert_ne!(old, new);
        desk.call("GET", "/v1/claims").bearer(old).send().await.problem(401, "unauthorized");
        desk.call("GET", "/v1/claims").bearer(new).send().await.must(200);
        let join = desk.call("POST", "/v1/leases").bearer(old).json(&two_hours());
        join.send().await.problem(401, "unauthorized");
    });
}

#[test]
fn a_claims_addresses_are_set_kept_taken_away_and_never_ours() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        let call = || desk.call("PATCH", "/v1/claims").bearer(text(&lease, "/claim_token"));
        let change = async |body: Value| call().json(&body).send().await;
        let to = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        let link = format!("BITCOIN:{}?amount=0.1&label=me", to.to_uppercase());
        let set = change(json!({ "refund_address": link, "payout_address": to })).await.must(200);
        assert_eq!(
            (&set.body["refund_address"], &set.body["payout_address"]),
            (&json!(to), &json!(to))
        );
        let less = change(json!({ "payout_address": null })).await.must(200).body;
        assert_eq!((&less["refund_address"], &less["payout_address"]), (&json!(to), &json!(null)));
        let own = text(&lease, "/invoice/address");
        let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        let own_link = format!("bitcoin:?bcrt={own}");
        for address in [own, &own_link, mainnet, ""] {
            for name in ["refund_address", "payout_address"] {
                let answer = change(json!({ name: address })).await;
                let answer = answer.problem(422, "invalid_request");
                assert_eq!(answer.pointers(), [format!("/{name}")], "{}", answer.text);
            }
        }
    });
}

#[test]
fn no_secret_is_in_the_databases_files() {
    on_sqlite(async |place| {
        let node = place.open().await;
        let desk = Desk::new(Rig::new(node.db.clone(), gpu()).await, |_| {});
        let call = desk.call("POST", "/v1/leases").key(KEY).json(&two_hours());
        let lease = call.send().await.must(201).body;
        let old = text(&lease, "/claim_token").to_owned();
        let rotated = desk.call("POST", &path(&lease, "/rotate-claim")).bearer(&old).send().await;
        let new = text(&rotated.must(200).body, "/claim_token").to_owned();
        drop(desk);
        let holds = |text: &str| {
            let files = std::fs::read_dir(place.folder()).unwrap();
            files
                .map(|file| std::fs::read(file.unwrap().path()).unwrap())
                .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        };
        for closed in [false, true] {
            assert!(holds(text(&lease, "/lease/id")), "the files are the right ones");
            for secret in [KEY, &old, &new, &old[4..], &new[4..]] {
                assert!(!holds(secret), "closed: {closed}");
            }
            if !closed {
                node.shut_down();
            }
        }
        node.stop().await;
    });
}
