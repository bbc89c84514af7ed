//! QR codes of invoices, drawn by a browser and read back by zbar.

use crate::harness::daemon::{Rented, Shop, once};
use crate::harness::peers::{draw, left_out, read_qr_code};

/// What the code of an invoice says.
fn code_of(shop: &Shop, rented: &Rented) -> String {
    let picture = shop.folder().join("code.png");
    draw(&format!("{}/v1/invoices/{}/qr.svg", shop.url(), rented.invoice), &picture);
    read_qr_code(&picture)
}

/// The shop's descriptor with the same key in a script of kind sh(wsh), whose addresses are
/// base58.
fn in_sh_wsh(descriptor: &str) -> String {
    let key = descriptor.strip_prefix("wpkh(").and_then(|rest| rest.strip_suffix(')'));
    format!("sh(wsh(multi(1,{})))", key.expect("it is wpkh"))
}

#[test]
fn zbar_reads_the_upper_case_uri_of_a_bech32_address_and_the_unchanged_one_of_base58() {
    if left_out("browser") || left_out("zbar") {
        return;
    }
    once(|shop| {
        let rented = shop.rent("shared", 3601);
        assert!(rented.address.starts_with("bcrt1q"), "{}", rented.address);
        let upper = rented.address.to_ascii_uppercase();
        let expected = format!("BITCOIN:{upper}?amount=0.00003601&label=shared");
        assert_eq!(code_of(shop, &rented), expected);

        shop.stop();
        shop.descriptor = in_sh_wsh(&shop.descriptor);
        shop.write_config("");
        shop.start();
        let rented = shop.rent("box", 7200);
        assert!(rented.address.starts_with('2'), "{}", rented.address);
        let expected = format!("bitcoin:{}?amount=0.00007200&label=box", rented.address);
        assert_eq!(code_of(shop, &rented), expected);
        assert_eq!(shop.invoice(&rented.invoice)["uri"], expected.as_str());
    });
}
