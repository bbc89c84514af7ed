//! The gate on leases put into its map by hand.

use secp256k1::SecretKey;

use super::*;
use crate::domain::jwk::SigningKey;
use crate::domain::session::{self, Session, Whose};
use crate::domain::token::{Subject, sign};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn signing() -> SigningKey {
    SigningKey::new(SecretKey::from_slice(&[7; 32]).unwrap())
}

fn lease() -> LeaseId {
    LeaseId::new([9; 16])
}

fn token(resource: &str, generation: u32) -> String {
    let subject = Subject {
        lease: lease(),
        resource: resource.into(),
        generation,
        seq: 1,
        expires_at: NOW.plus_s(86_400),
    };
    sign(&Claims::new(subject, "http://shop.test", NOW, 3600, [1; 16]), &signing())
}

fn row(state: LeaseState, generation: u32, paid_until: Timestamp) -> Running {
    Running {
        lease: lease().to_string(),
        resource: "gpu".into(),
        state,
        generation,
        rotations: 0,
        terms_version: 1,
        paid_until,
    }
}

fn gate(row: Running) -> Gate {
    let gate = Gate::default();
    gate.set_resources(["gpu", "mirror"].into_iter());
    gate.learn_terms("gpu", 1, 7200);
    gate.put(&[row]);
    gate.heard(Instant::now());
    gate
}

fn ask(gate: &Gate, resource: &str, token: &str, now: Timestamp) -> Result<Timestamp, Closed> {
    let passed = gate.check(Some(resource), token, &[signing().verifying()], now)?;
    assert_eq!(passed.claims.sub, lease());
    Ok(passed.expires_at)
}

#[test]
fn an_active_lease_passes_until_its_time_is_over() {
    let until = NOW.plus_s(600);
    let gate = gate(row(LeaseState::Active, 1, until));
    let token = token("gpu", 1);
    assert_eq!(ask(&gate, "gpu", &token, NOW), Ok(until));
    let last = until.plus_millis(-1);
    assert_eq!(ask(&gate, "gpu", &token, last), Ok(until));
    assert_eq!(ask(&gate, "gpu", &token, until), Err(Closed::Lease), "the tick may be late");
}

#[test]
fn it_says_no_further_ahead_than_the_horizon() {
    let gate = gate(row(LeaseState::Active, 1, NOW.plus_s(100_000)));
    assert_eq!(ask(&gate, "gpu", &token("gpu", 1), NOW), Ok(NOW.plus_s(7200)));
}

#[test]
fn each_reason_to_refuse_is_told_apart() {
    let until = NOW.plus_s(600);
    let open = gate(row(LeaseState::Active, 2, until));
    assert_eq!(ask(&open, "gpu", &token("gpu", 1), NOW), Err(Closed::Lease), "generation");
    let wrong = Err(Closed::Token(TokenError::Resource));
    assert_eq!(ask(&open, "mirror", &token("gpu", 2), NOW), wrong);
    assert_eq!(ask(&open, "mirror", &token("mirror", 2), NOW), Err(Closed::Lease));
    assert_eq!(ask(&open, "nowhere", &token("gpu", 2), NOW), Err(Closed::UnknownResource));
    assert_eq!(ask(&open, "gpu", "x", NOW), Err(Closed::Token(TokenError::Form)));
    for state in [LeaseState::Grace, LeaseState::Suspended] {
        let gate = gate(row(state, 1, until));
        assert_eq!(ask(&gate, "gpu", &token("gpu", 1), NOW), Err(Closed::Lease), "{state:?}");
    }
    open.remove(&[lease().to_string()]);
    assert_eq!(ask(&open, "gpu", &token("gpu", 2), NOW), Err(Closed::Lease), "gone");
    assert!(open.is_empty());
}

#[test]
fn a_gate_that_has_heard_nothing_for_five_seconds_does_not_answer() {
    let gate = gate(row(LeaseState::Active, 1, NOW.plus_s(600)));
    let token = token("gpu", 1);
    let ago = |time: Duration| Instant::now().checked_sub(time).unwrap();
    gate.heard(ago(MAX_STALENESS - Duration::from_secs(1)));
    assert!(ask(&gate, "gpu", &token, NOW).is_ok());
    gate.heard(ago(MAX_STALENESS));
    assert_eq!(ask(&gate, "gpu", &token, NOW), Err(Closed::Deaf));
    gate.heard(Instant::now());
    assert!(ask(&gate, "gpu", &token, NOW).is_ok());
    assert_eq!(Gate::default().knows(Some("gpu")), Err(Closed::Deaf), "before the first word");
}

#[test]
fn a_lease_takes_forty_bytes() {
    assert!(size_of::<(Key, Place)>() <= 40);
}

fn browser(resource: &str, generation: u32) -> String {
    let whose = Whose { lease: lease(), generation, rotations: 0 };
    let session = Session::new(whose, resource, NOW, [2; 16]);
    session::sign(&session, &signing())
}

fn enter(gate: &Gate, resource: &str, cookie: &str, now: Timestamp) -> Result<Timestamp, Closed> {
    let passed = gate.check_session(resource, cookie, &[signing().verifying()], now)?;
    assert_eq!(passed.0, lease());
    Ok(passed.1)
}

#[test]
fn a_session_lasts_as_long_as_its_lease_and_no_longer() {
    let until = NOW.plus_s(86_400);
    let open = gate(row(LeaseState::Active, 2, until));
    let cookie = browser("gpu", 2);
    assert_eq!(enter(&open, "gpu", &cookie, NOW), Ok(NOW.plus_s(7200)));
    assert_eq!(enter(&open, "gpu", &cookie, until.plus_millis(-1)), Ok(until), "no end of its own");
    assert_eq!(enter(&open, "gpu", &cookie, until), Err(Closed::Lease));
    assert_eq!(enter(&open, "gpu", &browser("gpu", 1), NOW), Err(Closed::Lease), "generation");
    for state in [LeaseState::Grace, LeaseState::Suspended] {
        open.put(&[row(state, 2, until)]);
        assert_eq!(enter(&open, "gpu", &cookie, NOW), Err(Closed::Lease), "{state:?}");
    }
    open.put(&[row(LeaseState::Active, 2, until)]);
    assert!(enter(&open, "gpu", &cookie, NOW).is_ok());
    open.put(&[Running { rotations: 1, ..row(LeaseState::Active, 2, until) }]);
    assert_eq!(enter(&open, "gpu", &cookie, NOW), Err(Closed::Session), "somebody else's by now");
    open.put(&[row(LeaseState::Active, 2, until)]);
    open.remove(&[lease().to_string()]);
    assert_eq!(enter(&open, "gpu", &cookie, NOW), Err(Closed::Lease));
}

#[test]
fn a_session_is_for_one_resource_and_no_lease_token() {
    let open = gate(row(LeaseState::Active, 1, NOW.plus_s(600)));
    assert_eq!(enter(&open, "mirror", &browser("gpu", 1), NOW), Err(Closed::Session));
    assert_eq!(enter(&open, "mirror", &browser("mirror", 1), NOW), Err(Closed::Lease));
    assert_eq!(enter(&open, "gpu", &token("gpu", 1), NOW), Err(Closed::Session));
    let not_a_token = Err(Closed::Token(TokenError::Form));
    assert_eq!(ask(&open, "gpu", &browser("gpu", 1), NOW), not_a_token);
    assert_eq!(enter(&open, "gpu", "x", NOW), Err(Closed::Session));
}

#[test]
fn the_time_without_news_can_be_configured() {
    let patient = Gate::new(Duration::from_secs(60));
    patient.set_resources(["gpu"].into_iter());
    patient.heard(Instant::now().checked_sub(MAX_STALENESS).unwrap());
    assert_eq!(patient.knows(Some("gpu")), Ok(()));
    patient.heard(Instant::now().checked_sub(Duration::from_secs(60)).unwrap());
    assert_eq!(patient.knows(Some("gpu")), Err(Closed::Deaf));
}
