//! Pictures of every page, for people to look at: `regtest/screenshots`. Nothing without the folder
//! that it names.

use std::path::PathBuf;

use crate::harness::browser::Browser;

use super::customers;
use super::operators::{desk_tour, lived_in};
use super::tour::tour;

#[test]
fn every_page_has_its_picture_taken() {
    let Some(folder) = std::env::var_os("LEASEHOLD_SCREENSHOTS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    customers(|shop| {
        let browser = Browser::start();
        let mut take = |browser: &Browser, stop: &str| {
            // Tables of operators become cards below.
            let wide = if stop.starts_with("operator-") { 1280 } else { 900 };
            for (look, width, dark) in
                [("light", wide, false), ("dark", wide, true), ("phone", 360, false)]
            {
                browser.set_width(width);
                browser.set_dark(dark);
                let file = folder.join(format!("{stop}-{look}.png"));
                std::fs::write(file, browser.picture()).expect("the folder is there");
            }
            browser.set_width(900);
            browser.set_dark(false);
        };
        tour(shop, &browser, &mut take);
        lived_in(shop, &browser);
        desk_tour(shop, &browser, &mut take);
    });
}
