//! How long to wait before something is tried again. The randomness comes in as an argument, so
//! that the same numbers give the same moments.

/// Waits after the first, second, … failure of a provisioner, in seconds; the last one repeats.
const STEPS_S: [u64; 5] = [1, 10, 60, 600, 3600];

/// Milliseconds to wait after failure number `failures` (1 for the first): a step, up to a quarter
/// more by `random`, so that those who failed together do not return together.
pub fn wait_ms(failures: u32, random: u8) -> u64 {
    let last = STEPS_S.len() - 1;
    let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(last).min(last);
    let step_ms = STEPS_S[at] * 1000;
    step_ms + step_ms * u64::from(random) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_longer_up_to_an_hour_and_a_quarter() {
        let plain: Vec<u64> = (1..=6).map(|n| wait_ms(n, 0)).collect();
        assert_eq!(plain, [1000, 10_000, 60_000, 600_000, 3_600_000, 3_600_000]);
        assert_eq!(wait_ms(0, 0), 1000);
        assert!(wait_ms(u32::MAX, 255) < 3_600_000 * 5 / 4);
    }
}
