//! Moments on pages: how far away they are, by the server and from then on by the script.

use leasehold::domain::time::Timestamp;

use crate::harness::browser::Browser;
use crate::harness::peers::left_out;

use super::closed::listens;
use super::{ask, customers};

#[test]
fn server_and_script_say_the_same_of_how_far_a_moment_is_away() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(shop.url());
        let now = Timestamp::from_secs(1_795_000_000);
        let near = (-70_i64..70).chain(590..610).chain(3590..3610);
        let far = [7500, 86_399, 86_400, 90_000, 863_999, 864_000, 9_000_000].into_iter();
        let millis: Vec<i64> = near
            .chain(far.clone())
            .chain(far.map(|s: i64| -s))
            .flat_map(|s| [s * 1000, s * 1000 + 1, s * 1000 - 1])
            .collect();
        let ours: Vec<String> = millis.iter().map(|ms| now.plus_millis(*ms).away(now)).collect();
        let theirs = browser.run(&format!("return {millis:?}.map(leasehold.away)"));
        assert_eq!(theirs, serde_json::json!(ours));
    });
}

#[test]
fn a_moment_on_an_open_page_counts_on_and_nothing_is_read_out_for_it() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        let page = shop.ask_text(&format!("/checkout/{invoice}"));
        assert!(page.contains(">(in 29 min)</span>") || page.contains(">(in 30 min)</span>"));
        browser.shows("The price holds until");
        listens(&browser);
        // The reader's clock runs ahead by 25 minutes: near the end seconds count.
        let counted = browser.run_async(
            "const done = arguments[arguments.length - 1], real = Date.now, seen = new Set();\
             const told = [], part = document.querySelector('#state .away');\
             const ear = new MutationObserver(all => told.push(...all.map(one => one.target.id)));\
             document.querySelectorAll('[role=status], [aria-live]').forEach(one => ear.observe(one,\
                 { childList: true, subtree: true, characterData: true }));\
             const eye = new MutationObserver(() => {\
                 seen.add(part.textContent); if (seen.size === 3) done([[...seen], told]); });\
             eye.observe(part, { childList: true, characterData: true, subtree: true });\
             Date.now = () => real() + 1500000;",
        );
        let seen = counted[0].as_array().expect("a list");
        let counts = |text: &serde_json::Value| {
            text.as_str()
                .is_some_and(|text| text.starts_with("(in 4 min ") && text.ends_with(" s)"))
        };
        assert!(seen.iter().all(counts), "{counted}");
        assert_eq!(counted[1], serde_json::json!([]), "what is read out has not changed");
        // When it has passed, the page is asked for once, whatever the server's clock says.
        let asked = browser.run_async(
            "const done = arguments[arguments.length - 1], now = Date.now(), fetched = window.fetch;\
             let asked = 0, frames = 0;\
             window.fetch = (...all) => { asked += 1; return fetched(...all); };\
             Date.now = () => now + 600000;\
             const next = () => (frames += 1) > 150 ? done(asked) : requestAnimationFrame(next);\
             next();",
        );
        assert_eq!(asked, 1);
        browser.shows("(5 min ago)");
    });
}
