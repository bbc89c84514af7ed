//! Who pays the fee, how much it may be, and what is too small to be paid: exact to the satoshi.

use serde_json::{Value, json};

use super::owed::{change_of, output_to, sum};
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::Shop;
use crate::harness::signer::{Kind, Signer};
use crate::harness::wait::until;

const SENDER: &str = "[payouts]\npayout_confirmations = 2\nfee_policy = \"sender\"\n";

/// Signs, submits and mines a batch, in which nothing gets lost; the node sees the same in it.
fn through(shop: &Shop, signer: &Signer, batch: &Value) {
    let pays = &batch["pays"];
    let (fee, spent) = (number(&pays["fee_sat"]), sum(&pays["inputs"], "amount_sat"));
    assert_eq!(spent, sum(&pays["outputs"], "amount_sat") + fee, "{batch}");
    shop.sign_and_submit(signer, batch);
    let entry = shop.node.call("getmempoolentry", json!([batch["txid"]]));
    let seen = format!("{:.8}", entry["fees"]["base"].as_f64().unwrap());
    let seen = bitcoin::Amount::from_str_in(&seen, bitcoin::Denomination::Bitcoin).unwrap();
    assert_eq!(seen.to_sat(), fee, "{entry}");
    let (claimed, real) = (number(&pays["vsize"]), number(&entry["vsize"]));
    let inputs = u64::try_from(pays["inputs"].as_array().unwrap().len()).unwrap();
    assert!((claimed - inputs..=claimed).contains(&real), "{real} of {claimed} vbytes");
    shop.node.mine(1);
    shop.all_confirmed(&batch["id"]);
}

#[test]
fn recipients_share_the_fee_equally_and_get_the_rest_to_the_satoshi() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = [0; 3].map(|_| shop.node.new_address());
        let owed = [(&to[0], 10_000), (&to[1], 20_001), (&to[2], 31_013)];
        shop.due(&owed.map(|(to, sat)| (to.as_str(), sat)));
        let batch = shop.prepare(&json!({ "feerate_msat_vb": 1500 }));
        assert_eq!(
            (&batch["fee_policy"], &batch["pays"]["total_sat"]),
            (&json!("recipient"), &json!(61_014))
        );
        let fee = number(&batch["pays"]["fee_sat"]);
        let vsize = number(&batch["pays"]["vsize"]);
        assert!((vsize * 3 - 2..=vsize * 3 + 1).contains(&(fee * 2)), "{batch}");
        let mut shares = Vec::new();
        for (address, sat) in owed {
            let output = output_to(&batch["pays"], address);
            let share = number(&output["payouts"][0]["fee_sat"]);
            assert_eq!(number(&output["amount_sat"]), sat - share, "{output}");
            shares.push(share);
        }
        assert_eq!(shares.iter().sum::<u64>(), fee);
        assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        through(shop, signer, &batch);
        for (address, sat) in owed {
            let share = number(&output_to(&batch["pays"], address)["payouts"][0]["fee_sat"]);
            assert_eq!(shop.arrived_sat(address), sat - share);
        }
    });
}

#[test]
fn the_sender_pays_the_fee_out_of_its_own_coins_where_it_is_told_to() {
    once_signed(Kind::Wpkh, SENDER, |shop, signer| {
        // What the operator earned pays for it.
        let rich = shop.rent("shared", 100_000);
        shop.node.send(&rich.address, 100_000);
        let [a, b] = [shop.node.new_address(), shop.node.new_address()];
        let list = shop.due(&[(&a, 10_000), (&b, 20_001)]);
        let batch = shop.prepare(&json!({}));
        assert_eq!(
            (&batch["fee_policy"], &batch["pays"]["total_sat"]),
            (&json!("sender"), &json!(30_001))
        );
        assert_eq!(output_to(&batch["pays"], &a)["payouts"][0]["fee_sat"], 0);
        through(shop, signer, &batch);
        assert_eq!((shop.arrived_sat(&a), shop.arrived_sat(&b)), (10_000, 20_001));
        let change = change_of(&batch["pays"]).unwrap();
        let fee = number(&batch["pays"]["fee_sat"]);
        assert_eq!(number(&change["amount_sat"]), 100_000 - 30_001 - fee, "{batch}");
        assert_eq!(shop.claim(&list[0])["refunded_sat"], 10_000);
        assert_eq!(shop.accounts()["refunded_sat"], 30_001, "the fee is outside the books");
    });
}

#[test]
fn a_payout_that_the_fee_would_eat_is_left_out_until_the_operator_allows_it() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let [little, much] = [shop.node.new_address(), shop.node.new_address()];
        let small = shop.due(&[(&little, 1000), (&much, 50_000)]).remove(0);
        let fast = json!({ "feerate_msat_vb": 5000, "preview": true });
        let (status, made) = shop.try_prepare(&fast);
        assert_eq!((status, &made["pays"]["total_sat"]), (200, &json!(50_000)), "{made}");
        let left = &made["left_out"][0];
        assert_eq!(left["id"], shop.payouts(&small)[0]["id"]);
        let why = text(&left["why"]);
        assert!(
            why.starts_with("its share of the fee, ") && why.ends_with("more than 20 % of it"),
            "{why}"
        );
        let allowed = json!({ "feerate_msat_vb": 5000, "max_fee_pct": 60 });
        let batch = shop.prepare(&allowed);
        assert_eq!(batch["pays"]["total_sat"], 51_000, "{batch}");
        shop.through(signer, &batch);
        let share = number(&output_to(&batch["pays"], &little)["payouts"][0]["fee_sat"]);
        assert_eq!(shop.arrived_sat(&little), 1000 - share);
    });
}

#[test]
fn a_sender_is_warned_before_the_fee_eats_what_it_pays() {
    once_signed(Kind::Wpkh, SENDER, |shop, _| {
        let rich = shop.rent("shared", 100_000);
        shop.node.send(&rich.address, 100_000);
        shop.due(&[(&shop.node.new_address(), 2000)]);
        let why = shop.unprepared(&json!({ "feerate_msat_vb": 20_000 }));
        assert!(why.starts_with("nothing was prepared: the fee, "), "{why}");
        assert!(why.ends_with("more than 20 % of the 2000 sat to pay"), "{why}");
    });
}

#[test]
fn a_feerate_or_a_limit_that_makes_no_sense_is_refused_with_what_is_allowed() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        shop.due(&[(&shop.node.new_address(), 20_000)]);
        let rates = "allowed are 100 to 10000000 milli-satoshi a vbyte";
        for (body, pointer, why) in [
            (json!({ "feerate_msat_vb": 99 }), "/feerate_msat_vb", rates),
            (json!({ "feerate_msat_vb": 10_000_001 }), "/feerate_msat_vb", rates),
            (json!({ "feerate_msat_vb": 0 }), "/feerate_msat_vb", rates),
            (
                json!({ "feerate_msat_vb": 1000, "max_fee_pct": 0 }),
                "/max_fee_pct",
                "1 to 100 percent",
            ),
            (
                json!({ "feerate_msat_vb": 1000, "max_fee_pct": 101 }),
                "/max_fee_pct",
                "1 to 100 percent",
            ),
            (json!({}), "/feerate_msat_vb", "too few blocks to estimate a feerate; give one"),
        ] {
            let (status, answer) = shop.try_prepare(&body);
            assert_eq!(
                (status, &answer["errors"][0]["pointer"]),
                (422, &json!(pointer)),
                "{answer}"
            );
            assert!(text(&answer["detail"]).contains(why), "{answer}");
        }
        for wrong in [json!({ "feerate_msat_vb": 1.5 }), json!({ "feerate": 1000 })] {
            assert_eq!(shop.try_prepare(&wrong).0, 422, "{wrong}");
        }
        assert_eq!(shop.prepare(&json!({ "feerate_msat_vb": 100 }))["state"], "prepared");
    });
}

#[test]
fn what_is_too_small_for_the_network_is_dust_until_more_comes() {
    let config = format!("{CONFIG}min_payout_sat = 1\n");
    each_signed(Kind::Wpkh, &config, |shop, signer| {
        let [to, other] = [shop.node.new_address(), shop.node.new_address()];
        let rented = shop.due(&[(&to, 400)]).remove(0);
        let places = |dust: u64, refundable: u64| {
            let accounts = shop.accounts();
            let found = (&accounts["dust_sat"], &accounts["refundable_sat"]);
            assert_eq!(found, (&json!(dust), &json!(refundable)), "{accounts}");
        };
        places(0, 400);
        let why = shop.unprepared(&json!({}));
        assert!(why.contains(" sat would be left of it, less than the network relays"), "{why}");
        let payout = shop.payouts(&rented)[0].clone();
        assert_eq!((&payout["state"], &payout["waits_for"]), (&json!("due"), &json!("dust")));
        places(400, 0);
        assert_eq!(shop.claim(&rented)["refundable_sat"], 400, "it is still the holder's");
        assert_eq!(shop.lease(&rented.lease)["refundable_sat"], 400);
        // Beside others it is left out.
        let large = shop.due(&[(&other, 20_000)]).remove(0);
        let (_, made) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
        assert_eq!(made["left_out"][0]["id"], payout["id"], "{made}");
        places(400, 20_000);
        shop.through(signer, &made["batch"]);
        shop.payout_in(&large, "confirmed");
        places(400, 0);
        shop.node.send(&rented.address, 3000);
        shop.node.mine(2);
        until("all of it to be due", || {
            let payout = shop.payout_in(&rented, "due");
            let right = payout["ready_sat"] == 3400 && payout["waits_for"].is_null();
            if right { Ok(()) } else { Err(payout) }
        });
        places(0, 3400);
        let batch = shop.prepare(&json!({}));
        shop.through(signer, &batch);
        assert_eq!(shop.claim(&rented)["refunded_sat"], 3400);
        places(0, 0);
    });
}
