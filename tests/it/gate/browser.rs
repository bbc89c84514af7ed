//! The whole way with a real browser, which holds forms, redirects and cookies to its own rules.

use crate::harness::browser::Browser;
use crate::harness::guarded::nginx;
use crate::harness::peers::left_out;
use crate::harness::wait::until;

use super::proxies::{guarded, pay};

#[test]
fn chromium_is_led_to_the_checkout_and_after_paying_into_the_site() {
    if left_out("browser") || left_out("nginx") {
        return;
    }
    guarded(nginx, |shop, proxy| {
        let browser = Browser::start();
        let wanted = format!("{}/in/side?a=1&b=2", proxy.url);
        browser.go(&wanted);
        assert!(browser.url().starts_with(&format!("{}/resources/shared?to=", shop.url())));
        browser.click("//button[text()='Ask for it']");
        let invoice = until("the checkout", || {
            let url = browser.url();
            let id = url.split_once("/checkout/").map(|(_, rest)| rest.to_owned());
            id.and_then(|id| Some(id.split_once('?')?.0.to_owned())).ok_or(url)
        });
        let invoice = shop.invoice(&invoice);
        let word = |name: &str| invoice[name].as_str().expect("text").to_owned();
        browser.click("//a[text()='The lease']");
        let amount_sat = invoice["amount_sat"].as_u64().expect("a number");
        // The page shows by itself that it is paid.
        pay(shop, &word("address"), amount_sat, &word("lease"));
        browser.click("//button[text()='Open it']");
        let inside = until("the site", || {
            let (url, source) = (browser.url(), browser.source());
            if url == wanted { Ok(source) } else { Err((url, source)) }
        });
        assert!(inside.contains("inside /in/side?a=1&amp;b=2"), "{inside}");
        browser.go(&format!("{}/elsewhere", proxy.url));
        assert!(browser.source().contains("inside /elsewhere"));
    });
}

#[test]
fn who_is_not_let_in_reads_a_page_in_the_shops_look_under_a_strict_policy() {
    if left_out("browser") || left_out("nginx") {
        return;
    }
    guarded(nginx, |_, proxy| {
        let browser = Browser::start();
        browser.go(&format!("{}/v1/gate/shared/enter?code=gtc_none&to=/in", proxy.url));
        browser.shows("This way in works once");
        let style = |of: &str, what: &str| {
            let script = format!("return getComputedStyle(document.querySelector('{of}')).{what}");
            browser.run(&script).as_str().expect("text").to_owned()
        };
        for (dark, paper) in [(false, "rgb(255, 255, 255)"), (true, "rgb(20, 23, 26)")] {
            browser.set_dark(dark);
            assert_eq!(style("body", "backgroundColor"), paper);
            assert_eq!(style("a", "color"), paper, "on a button of the shop's colour");
            let accent = style("a", "backgroundColor");
            assert_eq!(accent == "rgb(11, 87, 164)", !dark, "{accent}");
        }
        browser.set_dark(false);
        browser.set_width(360);
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert_eq!(wide, 360);
        let refused = |line: &String| line.contains("Content Security Policy");
        let complaints = browser.complaints();
        assert!(!complaints.iter().any(refused), "{complaints:?}");
        // What the page does not have is not allowed, either.
        let added = "const style = document.createElement('style');\
            style.textContent = 'body { background: red }'; document.head.append(style);\
            return getComputedStyle(document.body).backgroundColor";
        assert_eq!(browser.run(added), "rgb(255, 255, 255)");
        let link = browser.run("return document.querySelector('a').getAttribute('href')");
        assert!(link.as_str().is_some_and(|link| link.ends_with("/resources/shared?to=%2Fin")));
    });
}
