//! QR codes of payment URIs: as a picture for pages, as text for a terminal.
//! Only draws what it is given. Called by the invoice's picture, the pages and `leasehold rent`.

use qrcode::render::{svg, unicode};
use qrcode::{EcLevel, QrCode};

/// The smallest width and height of the picture, in pixels.
const MIN_PIXELS: u32 = 240;
/// The most bytes a code can hold (version 40, level M, in bytes).
const MOST_BYTES: usize = 2331;

/// A text that does not fit a QR code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is too long for a QR code")]
pub struct TooLong;

/// The code as an SVG element with its quiet zone, black on white in every colour scheme, without
/// an XML declaration so that it can stand inside a page.
///
/// # Errors
/// [`TooLong`]
pub fn svg(text: &str) -> Result<String, TooLong> {
    let picture = code(text)?
        .render()
        .min_dimensions(MIN_PIXELS, MIN_PIXELS)
        .dark_color(svg::Color("#000"))
        .light_color(svg::Color("#fff"))
        .build();
    let start = picture.find("<svg").unwrap_or(0);
    Ok(picture[start..].to_owned())
}

/// The code in half blocks, two modules a character. With `colours` it sets black and white itself
/// (ANSI); without, the light modules are drawn, as fits the usual dark terminal.
///
/// # Errors
/// [`TooLong`]
pub fn terminal(text: &str, colours: bool) -> Result<String, TooLong> {
    let blocks = code(text)?
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build();
    if !colours {
        return Ok(blocks);
    }
    let lines: Vec<String> =
        blocks.lines().map(|line| format!("\u{1b}[38;5;231;48;5;16m{line}\u{1b}[0m")).collect();
    Ok(lines.join("\n"))
}

fn code(text: &str) -> Result<QrCode, TooLong> {
    if text.len() > MOST_BYTES {
        return Err(TooLong);
    }
    QrCode::with_error_correction_level(text, EcLevel::M).map_err(|_| TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::uri::{payment_uri, payment_uri_for_qr};

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    #[test]
    fn the_picture_can_stand_inside_a_page() {
        let picture = svg(&payment_uri_for_qr(ADDRESS, Some(1000), None)).unwrap();
        assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>"), "{picture}");
        assert!(!picture.contains("<?xml") && !picture.contains("<script"));
    }

    #[test]
    fn upper_case_makes_the_code_smaller() {
        let modules = |text: &str| code(text).unwrap().width();
        assert!(
            modules(&payment_uri_for_qr(ADDRESS, Some(1000), None))
                < modules(&payment_uri(ADDRESS, Some(1000), None))
        );
    }

    #[test]
    fn a_terminal_shows_every_module_and_the_quiet_zone() {
        let text = payment_uri_for_qr(ADDRESS, None, None);
        let plain = terminal(&text, false).unwrap();
        let code = code(&text).unwrap();
        let wide = code.width() + 8;
        let lines: Vec<Vec<char>> = plain.lines().map(|line| line.chars().collect()).collect();
        assert_eq!(lines.len(), wide.div_ceil(2));
        for (n, colour) in code.to_colors().into_iter().enumerate() {
            let (x, y) = (n % code.width() + 4, n / code.width() + 4);
            let character = lines[y / 2][x];
            let light = match (character, y % 2) {
                ('█', _) | ('▀', 0) | ('▄', 1) => true,
                (' ', _) | ('▀', 1) | ('▄', 0) => false,
                other => panic!("{other:?} at {x}, {y}"),
            };
            assert_eq!(light, colour == qrcode::Color::Light, "{x}, {y}");
        }
        assert!(lines[0].iter().all(|character| *character == '█'), "the quiet zone is light");
        let coloured = terminal(&text, true).unwrap();
        assert_eq!(coloured.matches("\u{1b}[0m").count(), lines.len());
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        assert_eq!(svg(&"x".repeat(2332)), Err(TooLong));
        assert!(svg(&"x".repeat(2331)).is_ok());
    }
}
