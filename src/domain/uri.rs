//! temp
/// temp
pub fn payment_uri(address: &str, due_sat: Option<u64>, label: Option<&str>) -> String {
    let due = due_sat.unwrap_or(0);
    format!(
        "bitcoin:{address}?amount={}.{:08}&label={}",
        due / 100_000_000,
        due % 100_000_000,
        label.unwrap_or_default()
    )
}
