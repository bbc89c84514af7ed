//! The server is killed in the middle of what is done to batches. Whoever asked asks again, and
//! everything is paid once.

use super::*;

/// Kills of the everyday tier and of the long one.
const KILLS: (u64, u64) = (10, 40);
/// Questions asked before a kill at most: about as long as what is killed takes.
const QUESTIONS: u8 = 60;

fn kills() -> u64 {
    if std::env::var_os("LEASEHOLD_TEST_LONG").is_some() { KILLS.1 } else { KILLS.0 }
}

/// A number below `limit`.
fn random(limit: u8) -> u8 {
    let mut byte = [0_u8];
    getrandom::fill(&mut byte).expect("the system has random bytes");
    byte[0] % limit
}

type Answer = Option<(u16, Value)>;

/// Kills the server somewhere in `act`, and starts it again. What was answered, if anything.
fn interrupted(shop: &mut Shop, what: &str, act: impl Fn(&Shop) -> Answer + Sync) -> Answer {
    let questions = random(QUESTIONS);
    let asked = &*shop;
    let came = std::thread::scope(|scope| {
        let act = scope.spawn(|| act(asked));
        for _ in 0..questions {
            asked.get("/healthz");
        }
        asked.strike();
        act.join().expect("it asks")
    });
    let status = came.as_ref().map(|(status, _)| status);
    eprintln!("{what}: killed after {questions} questions, answered {status:?}");
    shop.kill();
    shop.start();
    shop.wait_for_wallet();
    came
}

/// Asks, is killed, and asks again with the same key.
fn insist(shop: &mut Shop, path: &str, key: &str, body: &Value) -> Value {
    let before = interrupted(shop, path, |shop| shop.try_operate(path, key, body));
    let (status, answer) = shop.try_operate(path, key, body).expect("it answers");
    assert_eq!(status, 201, "{path}: {answer}");
    if let Some((_, before)) = before {
        let made = |answer: &Value| [&answer["txid"], &answer["batch"]["id"]].map(text);
        assert_eq!(made(&before), made(&answer), "made twice");
    }
    answer["batch"].clone()
}

/// Submits, is killed, and submits again.
fn submit(shop: &mut Shop, signer: &Signer, batch: &Value, n: u32) {
    let psbt = signer.sign(&text(&psbt_of(shop, batch, n)["psbt"]));
    let body = json!({ "psbt": psbt });
    interrupted(shop, "submit", |shop| {
        shop.try_operate("payouts/submit", "a-key-that-nobody-keeps", &body)
    });
    let (status, answer) = shop.try_submit(&psbt);
    assert_eq!((status, &answer["complete"]), (200, &json!(true)), "{answer}");
}

/// Mines with the server following, and kills it.
fn mine(shop: &mut Shop, count: u32, reorg: bool) {
    interrupted(shop, "follow", |shop| {
        match reorg {
            true => shop.node.reorg(count),
            false => drop(shop.node.mine(count)),
        }
        None
    });
}

/// One batch and one kill at least. Returns how many.
fn one(shop: &mut Shop, signer: &Signer, n: u64) -> u64 {
    let key = format!("a-key-of-the-operator-{n}");
    let body = json!({ "feerate_msat_vb": 1000 });
    let first = n.is_multiple_of(4);
    let batch = match first {
        true => insist(shop, "payouts/prepare", &key, &body),
        false => shop.prepare(&body),
    };
    let versions = batch["versions"].as_array().unwrap().len();
    assert_eq!(versions, 1, "{batch}");
    if n % 4 == 1 {
        submit(shop, signer, &batch, 1);
    } else {
        shop.sign_and_submit(signer, &batch);
    }
    let mut kills = u64::from(n % 4 < 2);
    if n % 4 == 2 {
        let path = format!("payouts/batches/{}/bump", text(&batch["id"]));
        let body = json!({ "feerate_msat_vb": 5000 });
        let bumped = insist(shop, &path, &key, &body);
        assert_eq!(bumped["versions"].as_array().unwrap().len(), 2, "{bumped}");
        submit(shop, signer, &bumped, 2);
        kills += 2;
    }
    if n % 4 == 3 {
        mine(shop, 1, false);
        mine(shop, 1, true);
        kills += 2;
    } else {
        shop.node.mine(1);
    }
    kills
}

#[test]
fn killed_at_any_moment_of_a_batch_everything_is_paid_once() {
    each_signed(Kind::Wpkh, STORM, |shop, signer| {
        let (mut all, mut done, mut n) = (Vec::new(), 0, 0);
        while done < kills() {
            let holders = holders(shop, 1 + u64::from(random(2)));
            done += one(shop, signer, n);
            all_in(shop, &holders, "confirmed");
            all.extend(holders);
            n += 1;
        }
        eprintln!("killed {done} times");
        paid_once(shop, &all);
    });
}
