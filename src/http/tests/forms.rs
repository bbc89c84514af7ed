//! The forms of the pages, as browsers send them: mistakes beside their fields, prices, double
//! clicks, confirmations, a calendar.

use super::desk::{Answer, Desk, at_desk, at_desk_with, text};
use super::pages::{OWN, cookie, leases, request};
use crate::domain::resource::tests::gpu;
use crate::domain::resource::{ParamFormat, ParamRule, Terms};

/// A shop that wants a key.
fn with_key() -> Terms {
    let rule = ParamRule {
        required: true,
        format: Some(ParamFormat::SshPublicKey),
        ..ParamRule::default()
    };
    Terms { params: [("ssh_key".to_owned(), rule)].into(), ..gpu() }
}

async fn send(desk: &Desk, path: &str, cookie: &str, form: &str) -> Answer {
    desk.call("POST", path).header(OWN.0, OWN.1).header("cookie", cookie).form(form).send().await
}

/// The lease that a request led to, as the API answers its creation.
async fn created(desk: &Desk, asked: &Answer) -> serde_json::Value {
    let invoice = asked.header("location").replace("/checkout/", "/v1/invoices/");
    let invoice = desk.get(&invoice).await.must(200).body;
    serde_json::json!({ "lease": text(&invoice, "/lease"), "invoice": invoice })
}

fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let start = format!("name=\"{name}\" value=\"");
    let rest = page.split_once(&start).unwrap_or_else(|| panic!("no {name}: {page}")).1;
    rest.split_once('"').unwrap().0
}

#[test]
fn every_mistake_stands_beside_its_field_and_nothing_typed_is_lost() {
    at_desk_with(
        with_key(),
        |_| {},
        async |desk| {
            let form = "time=999&unit=d&param.ssh_key=no+key&refund_address=nonsense&keep=1";
            let page = send(&desk, "/resources/gpu-small", "", form).await.must(422).text;
            for part in [
                "id=\"time-error\">From 10 minutes to 30 days.",
                "id=\"error-ssh_key\">This must be one line of an OpenSSH public key file",
                "id=\"refund-error\">This is not a bitcoin address.",
                ">no key</textarea>",
                "value=\"nonsense\"",
                "name=\"keep\" value=\"1\" checked",
            ] {
                assert!(page.contains(part), "{part}: {page}");
            }
            assert_eq!(page.matches(" autofocus").count(), 1, "the first: {page}");
            let form = "time=1&unit=h&param.ssh_key=no+key&refund_address=nonsense";
            let page = send(&desk, "/resources/gpu-small", "", form).await.must(422).text;
            let focused = page.split("<textarea ").nth(1).unwrap().split('>').next().unwrap();
            assert!(focused.ends_with("aria-invalid=\"true\" autofocus rows=\"3\" spellcheck=\"false\" autocapitalize=\"off\" autocomplete=\"off\""), "{focused}");
            assert_eq!(page.matches(" autofocus").count(), 1, "the first: {page}");
            let wrong = send(&desk, "/resources/gpu-small", "", "time=soon&unit=h").await.must(422);
            assert!(wrong.text.contains("Give a number"), "{}", wrong.text);
        },
    );
}

#[test]
fn the_price_is_named_for_what_was_typed_and_nothing_is_created() {
    at_desk_with(
        with_key(),
        |_| {},
        async |desk| {
            let form = "time=1.5&unit=h&param.ssh_key=kept";
            let page = send(&desk, "/resources/gpu-small/price", "", form).await.must(200);
            assert!(page.text.contains(">750 sat</strong> for 1 hour 30 minutes"), "{}", page.text);
            assert!(page.text.contains(">kept</textarea>") && !page.text.contains("error-ssh_key"));
            assert_eq!(page.header("set-cookie"), "");
            let asked = desk.get("/resources/gpu-small?time=2&unit=d").await.must(200).text;
            assert!(asked.contains(">24,000 sat</strong> for 2 days"), "{asked}");
            assert!(asked.contains("with its first confirmation"), "{asked}");
        },
    );
}

#[test]
fn a_form_that_is_sent_twice_asks_once() {
    at_desk(async |desk| {
        let page = desk.get("/resources/gpu-small").await.must(200).text;
        let form = format!("time=2&unit=h&once={}", field(&page, "once"));
        let first = send(&desk, "/resources/gpu-small", "", &form).await.must(303);
        let second = send(&desk, "/resources/gpu-small", "", &form).await.must(303);
        assert_eq!(first.header("location"), second.header("location"));
        assert_eq!(cookie(&first), cookie(&second));
        assert_eq!(leases(&desk, &cookie(&first).0).await, 1);
        // The cookie of the first answer is there already when the second click is.
        let late = send(&desk, "/resources/gpu-small", &cookie(&first).0, &form).await.must(303);
        assert_eq!(late.header("location"), first.header("location"));
        assert_eq!(leases(&desk, &cookie(&first).0).await, 1);
        let other = form.replace("time=2", "time=3");
        let other = send(&desk, "/resources/gpu-small", "", &other).await.must(422).text;
        assert!(other.contains("This form was sent before"), "{other}");
        let lease = format!("/leases/{}", text(&created(&desk, &first).await, "/lease"));
        let page = desk.get("/resources/gpu-small").await.must(200).text;
        let more = format!("time=1&unit=h&once={}", field(&page, "once"));
        let one = send(&desk, &format!("{lease}/more"), "", &more).await.must(303);
        let two = send(&desk, &format!("{lease}/more"), "", &more).await.must(303);
        assert_eq!(one.header("location"), two.header("location"));
    });
}

#[test]
fn a_mistake_in_a_form_of_a_lease_stands_on_its_page_beside_the_field() {
    at_desk(async |mut desk| {
        let asked = request(&desk, "", OWN).await.must(303);
        let (mine, _) = cookie(&asked);
        let made = created(&desk, &asked).await;
        desk.pay(&made, 1000).await;
        let lease = format!("/leases/{}", text(&made, "/lease"));
        let more = format!("{lease}/more");
        for (form, value, part) in [
            ("time=soon&unit=d", "soon", "id=\"time-error\">Give a number"),
            ("time=99&unit=d&to=/x", "99", "id=\"time-error\">More than nothing, at most 30 days."),
        ] {
            let page = send(&desk, &more, "", form).await.must(200).text;
            for part in [part, ">Running</span>", "<option value=\"d\" selected>"] {
                assert!(page.contains(part), "{part}: {page}");
            }
            let typed = format!("value=\"{value}\" required aria-describedby=\"time-error\"");
            assert!(page.contains(&typed) && !page.contains("duration_s"), "{page}");
            assert_eq!(
                page.contains("data-page=\"/leases/") && page.contains("?to="),
                value == "99"
            );
            assert!(!page.contains("refund-error") && !page.contains("id=\"return\""), "{page}");
        }
        let refund = format!("{lease}/refund-address");
        send(&desk, &refund, "", "refund_address=nonsense").await.must(403);
        let page = send(&desk, &refund, &mine, "refund_address=nonsense").await.must(200).text;
        for part in [
            "id=\"refund-error\">This is not a bitcoin address.",
            "value=\"nonsense\"",
            ">Running</span>",
            "id=\"return\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("time-error"), "{page}");
    });
}

#[test]
fn the_holder_hands_in_another_key_on_a_page() {
    let key = |name: &str| {
        let start =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        crate::domain::site::escaped(&format!("{start} {name}"))
    };
    at_desk_with(
        with_key(),
        |_| {},
        async |desk| {
            let form = format!("time=2&unit=h&param.ssh_key={}", key("mine"));
            let asked = send(&desk, "/resources/gpu-small", "", &form).await.must(303);
            let (mine, _) = cookie(&asked);
            let lease = format!("/leases/{}", text(&created(&desk, &asked).await, "/lease"));
            let path = format!("{lease}/params");
            desk.get(&path).await.must(403);
            send(&desk, &path, "", "param.ssh_key=x").await.must(403);
            let holds = desk.call("GET", &lease).header("cookie", &mine).send().await.must(200);
            assert!(holds.text.contains("What you handed in"), "{}", holds.text);
            let look = async || {
                desk.call("GET", &path).header("cookie", &mine).send().await.must(200).text
            };
            assert!(look().await.contains(" mine</textarea>"));
            let wrong = send(&desk, &path, &mine, "param.ssh_key=none").await.must(200).text;
            assert!(wrong.contains("id=\"error-ssh_key\">This must be one line"), "{wrong}");
            assert!(wrong.contains(">none</textarea>"), "{wrong}");
            let form = format!("param.ssh_key={}", key("other"));
            assert_eq!(send(&desk, &path, &mine, &form).await.must(303).header("location"), lease);
            assert!(look().await.contains(" other</textarea>"));
        },
    );
}

#[test]
fn what_the_confirmation_promises_goes_back() {
    at_desk(async |mut desk| {
        let asked = request(&desk, "", OWN).await.must(303);
        let (mine, _) = cookie(&asked);
        let made = created(&desk, &asked).await;
        desk.pay(&made, 1000).await;
        desk.rig.clock.advance_s(1800);
        let lease = text(&made, "/lease").to_owned();
        let ask = format!("/leases/{lease}/return");
        let look = async |desk: &Desk, cookie: &str| {
            desk.call("GET", &ask).header("cookie", cookie).send().await
        };
        look(&desk, "").await.must(403);
        let page = look(&desk, &mine).await.must(200).text;
        assert!(page.contains("750 sat would go back"), "{page}");
        let own = format!("/leases/{lease}");
        let own = desk.call("GET", &own).header("cookie", &mine).send().await.must(200).text;
        assert!(
            own.contains("Give the lease back") && !own.contains("What you handed in"),
            "{own}"
        );
        send(&desk, &ask, &mine, "").await.must(303);
        let view = desk.get(&format!("/v1/leases/{lease}")).await.must(200).body;
        assert_eq!((&view["state"], &view["refundable_sat"]), (&"ended".into(), &750.into()));
        assert!(look(&desk, &mine).await.must(303).header("location").ends_with(&lease));
    });
}

#[test]
fn an_unpaid_request_can_be_given_up_by_its_holder_alone() {
    at_desk(async |desk| {
        let asked = request(&desk, "", OWN).await.must(303);
        let (mine, _) = cookie(&asked);
        let page = asked.header("location").to_owned();
        let cancel = format!("{page}/cancel");
        send(&desk, &cancel, "", "").await.must(403);
        assert!(!desk.get(&page).await.must(200).text.contains("Give it up"));
        let own = desk.call("GET", &page).header("cookie", &mine).send().await.must(200).text;
        assert!(own.contains(&format!("href=\"{cancel}\"")), "{own}");
        let sure = desk.call("GET", &cancel).header("cookie", &mine).send().await.must(200).text;
        assert!(sure.contains("Give this request up?"), "{sure}");
        send(&desk, &cancel, &mine, "").await.must(303);
        let after = desk.get(&page).await.must(200).text;
        assert!(after.contains("Given up") && after.contains("Ask for it again"), "{after}");
        assert!(!after.contains("It counts with") && !after.contains("class=\"qr\""), "{after}");
    });
}

#[test]
fn the_end_of_a_lease_is_an_event_for_calendars_with_a_reminder() {
    at_desk(async |mut desk| {
        let made = desk.lease().await;
        let lease = text(&made, "/lease/id").to_owned();
        let path = format!("/leases/{lease}/calendar.ics");
        desk.get(&path).await.must(404);
        desk.pay(&made, 1000).await;
        let file = desk.get(&path).await.must(200);
        assert_eq!(file.header("content-type"), "text/calendar; charset=utf-8");
        let view = desk.get(&format!("/v1/leases/{lease}")).await.must(200).body;
        let end = text(&view, "/expires_at")[..19].replace(['-', ':'], "") + "Z";
        for line in [
            "BEGIN:VCALENDAR\r\n".to_owned(),
            format!("UID:{lease}@leasehold\r\n"),
            format!("DTSTART:{end}\r\n"),
            "SUMMARY:GPU\\, small: the lease ends\r\n".into(),
            "TRIGGER:-PT60M\r\n".into(),
            "END:VCALENDAR\r\n".into(),
        ] {
            assert!(file.text.contains(&line), "{line}: {}", file.text);
        }
        let receipt = desk.get(&format!("/leases/{lease}/receipt")).await.must(200).text;
        assert!(receipt.contains("1,000 sat") && receipt.contains("2 hours"), "{receipt}");
    });
}

#[test]
fn without_a_rate_no_other_currency_is_named() {
    at_desk_with(
        gpu(),
        |state| {
            let rate = crate::domain::fiat::Rate::parse("EUR", "60000");
            state.rate = tokio::sync::watch::channel(rate).1;
        },
        async |desk| {
            let page = desk.get("/resources/gpu-small?time=2&unit=h").await.must(200).text;
            assert!(page.contains("≈ 0.60 EUR") && page.contains("≈ 0.30 EUR"), "{page}");
        },
    );
    at_desk(async |desk| {
        let page = desk.get("/resources/gpu-small?time=2&unit=h").await.must(200).text;
        assert!(!page.contains('≈'), "{page}");
    });
}
