//! Whose keys open a machine: only of holders whose lease is active, for their own user.

use serde_json::{Value, json};

use super::desk::{Answer, Desk, at_desk_with, text};
use crate::domain::resource::tests::gpu;
use crate::domain::resource::{ParamFormat, ParamRule, Terms};
use crate::domain::ssh::Ssh;

const KEY: &str = "ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const FINGERPRINT: &str = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";

fn machine() -> Terms {
    let rule = ParamRule { format: Some(ParamFormat::SshPublicKey), ..ParamRule::default() };
    let params = [("ssh_public_key".to_owned(), rule)].into();
    let ssh =
        Ssh { user: "{unit}".into(), options: vec!["pty".into()], param: "ssh_public_key".into() };
    Terms { params, ssh: Some(ssh), ..gpu() }
}

async fn rent(desk: &Desk, key: &str) -> Value {
    let body = json!({ "resource": "gpu-small", "duration_s": 7200,
        "params": { "ssh_public_key": key } });
    desk.post("/v1/leases", body).await.must(201).body
}

async fn ask(desk: &Desk, key: &str, query: &str) -> Answer {
    desk.call("GET", &format!("/v1/admin/ssh-keys?{query}")).bearer(key).send().await
}

#[test]
fn a_key_is_listed_for_its_unit_while_the_lease_is_active() {
    at_desk_with(
        machine(),
        |_| {},
        async |mut desk| {
            let (operator, _) = desk.operator("read manage", 1).await;
            let lines = async |desk: &Desk, query: &str| {
                let answer = ask(desk, &operator, &format!("resource=gpu-small&{query}")).await;
                let keys = answer.must(200).body["keys"].as_array().unwrap().clone();
                keys.iter().map(|key| text(key, "/line").to_owned()).collect::<Vec<_>>()
            };
            let lease = rent(&desk, &format!("{KEY} me@home")).await;
            let none: [String; 0] = [];
            assert_eq!(lines(&desk, "user=gpu-1").await, none, "not paid");
            desk.pay(&lease, 1000).await;
            let id = text(&lease, "/lease/id").to_owned();
            let line = format!("restrict,pty,expiry-time=\"20270115100000Z\" {KEY} {id}");
            assert_eq!(lines(&desk, "user=gpu-1").await, std::slice::from_ref(&line));
            assert_eq!(lines(&desk, "user=gpu-2").await, none);
            assert_eq!(lines(&desk, "user=root").await, none);
            let encoded = FINGERPRINT.replace('/', "%2F").replace('+', "%2B");
            let with = |print: &str| format!("user=gpu-1&fingerprint={print}");
            assert_eq!(lines(&desk, &with(&encoded)).await, [line]);
            assert_eq!(lines(&desk, &with("SHA256:x")).await, none);
            for (action, count) in [("suspend", 0), ("resume", 1), ("revoke", 0)] {
                let path = format!("/v1/admin/leases/{id}/{action}");
                desk.call("POST", &path).bearer(&operator).send().await.must(200);
                assert_eq!(lines(&desk, "user=gpu-1").await.len(), count, "{action}");
            }
            let second = rent(&desk, KEY).await;
            desk.pay(&second, 1000).await;
            assert_eq!(lines(&desk, "user=gpu-1").await.len(), 1);
            desk.rig.clock.advance_s(7200);
            assert_eq!(lines(&desk, "user=gpu-1").await, none, "though the tick is late");
        },
    );
}

#[test]
fn only_operators_ask_for_keys_and_only_of_what_has_ssh() {
    at_desk_with(
        machine(),
        |_| {},
        async |desk| {
            let (operator, _) = desk.operator("read", 1).await;
            let (weak, _) = desk.operator("payout", 2).await;
            let query = "resource=gpu-small&user=gpu-1";
            ask(&desk, &weak, query).await.problem(403, "forbidden");
            desk.get(&format!("/v1/admin/ssh-keys?{query}")).await.problem(401, "unauthorized");
            ask(&desk, &operator, "resource=x&user=y").await.problem(404, "unknown_resource");
            ask(&desk, &operator, "resource=gpu-small").await.problem(422, "invalid_request");
        },
    );
    at_desk_with(
        gpu(),
        |_| {},
        async |desk| {
            let (operator, _) = desk.operator("read", 1).await;
            let answer = ask(&desk, &operator, "resource=gpu-small&user=gpu-1").await;
            assert_eq!(answer.problem(422, "invalid_request").pointers(), ["/resource"]);
        },
    );
}
