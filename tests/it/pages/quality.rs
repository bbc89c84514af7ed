//! What holds for every page: readable for everybody (axe), valid HTML (tidy), narrow enough for a
//! phone, nothing from another host, no secret in an address, small.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::harness::browser::Browser;
use crate::harness::daemon::Shop;
use crate::harness::peers::{left_out, read_qr_code};

use super::tour::tour;
use super::{ask, customers, due, lease_of};

const AXE: &str = include_str!("../../assets/axe/axe.min.js");
/// The most that a page may weigh with all that belongs to it.
const MOST_BYTES: u64 = 100 * 1024;

/// What axe finds wrong with the page as it is.
fn violations(browser: &Browser) -> String {
    browser.run(AXE);
    let script = "const done = arguments[arguments.length - 1];\
        axe.run(document, { resultTypes: ['violations'] }).then(found => done(\
            found.violations.map(one => one.id + ': ' + one.nodes.map(node => \
            node.html + ' ' + node.failureSummary).join('; ')).join('\\n')));";
    browser.run_async(script).as_str().expect("text").to_owned()
}

/// The answers to forms: their addresses give something else, or nothing.
const ANSWERS: [&str; 8] = [
    "resource-mistakes",
    "more-mistakes",
    "refund-mistakes",
    "claim-shown",
    "forget",
    "operator-sign-in-wrong",
    "operator-batch-preview",
    "operator-mistakes",
];

/// The page as the server sends it; the answer to a form as the browser has it.
fn source(browser: &Browser, stop: &str) -> String {
    if ANSWERS.contains(&stop) {
        let whole = browser.run("return '<!doctype html>' + document.documentElement.outerHTML");
        return whole.as_str().expect("text").to_owned();
    }
    let script = "const done = arguments[arguments.length - 1];\
        fetch(location.href, { headers: { accept: 'text/html' } }).then(answer => answer.text()).then(done);";
    browser.run_async(script).as_str().expect("text").to_owned()
}

/// What Debian's tidy does not know yet: attributes of today's HTML, and what stands in SVG.
const NOT_KNOWN: [&str; 6] = [
    "<a> proprietary attribute \"aria-current\"",
    "proprietary attribute \"inputmode\"",
    "proprietary attribute \"autocapitalize\"",
    "<textarea> proprietary attribute \"autocomplete\"",
    "<svg> proprietary attribute \"shape-rendering\"",
    "<path> is not approved by W3C",
];

/// What tidy says of a page.
fn tidied(html: &str) -> String {
    let flags = ["-quiet", "-errors", "--drop-empty-elements", "no", "--new-inline-tags", "path"];
    let mut tidy = Command::new("tidy")
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tidy is there: regtest/test installs it");
    tidy.stdin.take().expect("a pipe").write_all(html.as_bytes()).expect("it reads");
    let told = tidy.wait_with_output().expect("it ends").stderr;
    let told = String::from_utf8(told).expect("text");
    let known = |line: &&str| !NOT_KNOWN.iter().any(|words| line.contains(words));
    told.lines().filter(known).collect::<Vec<_>>().join("\n")
}

/// Bytes of the page and of what it loaded with it, as sent; not of looking for what is new.
fn weight(browser: &Browser) -> u64 {
    let script = "return performance.getEntriesByType('navigation')\
        .concat(performance.getEntriesByType('resource'))\
        .filter(one => !['fetch', 'eventsource'].includes(one.initiatorType))\
        .filter(one => !one.name.includes('/events'))\
        .reduce((sum, one) => sum + one.encodedBodySize, 0);";
    browser.run(script).as_u64().expect("a number")
}

/// Moments that do not say how far away they are; a receipt is for paper.
fn bare_times(browser: &Browser, stop: &str) -> String {
    let script = "const main = document.querySelector('main');\
        const says = time => time.parentNode.querySelector('.away')?.textContent || '';\
        const bare = Array.from(main.querySelectorAll('time')).filter(time =>\
            !/^\\((in .+|.+ ago|just now)\\)$/.test(says(time)) || !/ UTC$/.test(time.title));\
        return bare.map(time => time.outerHTML)\
            .concat(main.innerText.match(/.*\\d\\d:\\d\\d(:\\d\\d)? UTC.*/g) || []).join('\\n');";
    let found = browser.run(script);
    if stop == "receipt" { String::new() } else { found.as_str().expect("text").to_owned() }
}

/// What is wrong with the page that a browser is at.
pub(super) fn mistakes(browser: &Browser, stop: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for dark in [false, true] {
        browser.set_dark(dark);
        let found = violations(browser);
        if !found.is_empty() {
            wrong.push(format!("{stop}, dark: {dark}: {found}"));
        }
    }
    browser.set_dark(false);
    for width in [360, 1100, 900] {
        browser.set_width(width);
        let wide = browser.run("return document.documentElement.scrollWidth");
        if wide.as_u64().is_none_or(|wide| wide > width.into()) {
            wrong.push(format!("{stop} is {wide} wide at {width}"));
        }
        // "Copy" on one line.
        let broken = browser.run(
            "return [...document.querySelectorAll('button.small')]\
             .filter(one => one.offsetHeight > 45).map(one => one.textContent).join()",
        );
        if broken != "" {
            wrong.push(format!("{stop} breaks {broken} at {width}"));
        }
    }
    let bare = bare_times(browser, stop);
    if !bare.is_empty() {
        wrong.push(format!("{stop}: {bare}"));
    }
    let told = tidied(&source(browser, stop));
    if !told.is_empty() {
        wrong.push(format!("{stop}: {told}"));
    }
    let weight = weight(browser);
    if weight > MOST_BYTES {
        wrong.push(format!("{stop} weighs {weight} bytes"));
    }
    wrong
}

#[test]
fn every_page_is_readable_in_light_and_dark_on_a_phone_and_by_machines() {
    if left_out("browser") || left_out("tidy") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let (mut wrong, mut stops) = (Vec::new(), 0);
        tour(shop, &browser, &mut |browser, stop| {
            stops += 1;
            wrong.extend(mistakes(browser, stop));
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(stops > 20, "{stops}");
    });
}

#[test]
fn no_page_asks_another_host_breaks_its_policy_or_puts_a_secret_in_an_address() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        shop.stop();
        shop.variables.push(("LEASEHOLD_LOG", "trace".into()));
        shop.start();
        let browser = Browser::start();
        let mut complaints = Vec::new();
        tour(shop, &browser, &mut |browser, stop| {
            let told = browser.complaints().into_iter();
            // The one page that is not there is a 404, a form that is refused a 422.
            let refused =
                |line: &str| stop == "resource-mistakes" && line.contains("status of 422");
            let told = told.filter(|line| !line.contains("/no/such/page") && !refused(line));
            complaints.extend(told.map(|line| format!("{stop}: {line}")));
        });
        assert_eq!(complaints, Vec::<String>::new());
        let requests = browser.requests();
        assert!(requests.len() > 50, "{requests:?}");
        let own = |url: &str| url.starts_with(shop.url()) || url.starts_with("data:");
        // Its own first page is the browser's affair.
        for (url, referrer) in requests.into_iter().filter(|(url, _)| !url.starts_with("chrome")) {
            assert!(own(&url), "{url}");
            assert!(!url.contains("clm_"), "{url}");
            assert!(referrer.as_deref().is_none_or(own), "{url}: {referrer:?}");
        }
        way_of_a_token(shop, &browser);
        assert!(!shop.log().contains("clm_"), "a claim token was logged");
    });
}

/// Shows, saves, replaces and hands in a claim token: all that carries it to the server.
fn way_of_a_token(shop: &Shop, browser: &Browser) {
    let invoice = ask(browser, shop, "shared", "1");
    let page = format!("{}/leases/{}/claim", shop.url(), lease_of(shop, &invoice));
    browser.go(&page);
    browser.click("//button[@id='show']");
    browser.shows("It is shown this once");
    browser.click("//button[@id='download']");
    browser.go(&page);
    browser.click("//a[@id='rotate']");
    browser.click("//main//button");
    browser.click("//button[@id='show']");
    browser.shows("It is shown this once");
    let token = browser.run("return document.getElementById('token').textContent");
    let token = token.as_str().expect("text").to_owned();
    browser.go(&format!("{}/claim", shop.url()));
    browser.click("//button[text()='Forget them here']");
    browser.shows("This browser has no claim token");
    browser.fill("claim", &token);
    browser.click("//button[@id='hand-in']");
    browser.shows("Waits for payment");
    assert!(token.starts_with("clm_") && shop.log().contains("/claim"), "{}", shop.log().len());
}

#[test]
fn zbar_reads_the_code_on_the_checkout_in_every_look() {
    if left_out("browser") || left_out("zbar") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "box", "2");
        let (address, sat) = due(shop, &invoice);
        let upper = address.to_uppercase();
        let wanted = format!("BITCOIN:{upper}?amount=0.{sat:08}&label=box");
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (width, dark) in [(900, false), (900, true), (360, false), (360, true)] {
            browser.set_width(width);
            browser.set_dark(dark);
            let file = folder.path().join(format!("{width}-{dark}.png"));
            std::fs::write(&file, browser.picture()).expect("the folder is ours");
            assert_eq!(read_qr_code(&file), wanted, "{width} {dark}");
        }
        // A second parser takes the link beside it.
        let link = browser.run("return document.getElementById('wallet').getAttribute('href')");
        let link: bip21::Uri<'_, _> = link.as_str().expect("a link").parse().expect("BIP321");
        let link = link.require_network(bitcoin::Network::Regtest).expect("of this network");
        assert_eq!(link.address.to_string(), address);
        assert_eq!(link.amount.map(bitcoin::Amount::to_sat), Some(sat));
    });
}
