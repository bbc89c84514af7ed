//! Pictures of every page, for people to look at: `regtest/screenshots`. Nothing without the folder
//! that it names.

use std::path::PathBuf;

use crate::harness::browser::Browser;

use super::customers;
use super::tour::tour;

#[test]
fn every_page_has_its_picture_taken() {
    let Some(folder) = std::env::var_os("LEASEHOLD_SCREENSHOTS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    customers(|shop| {
        let browser = Browser::start();
        tour(shop, &browser, &mut |browser, stop| {
            for (look, width, dark) in
                [("light", 900, false), ("dark", 900, true), ("phone", 360, false)]
            {
                browser.set_width(width);
                browser.set_dark(dark);
                let file = folder.join(format!("{stop}-{look}.png"));
                std::fs::write(file, browser.picture()).expect("the folder is there");
            }
            browser.set_width(900);
            browser.set_dark(false);
        });
    });
}
