//! Colours as `#rrggbb`, and whether text in one can be read on another (WCAG 2.2, contrast ratio).
//! Floats touch colours only, never money or time. Called by the configuration of the pages.
#![expect(clippy::float_arithmetic, reason = "luminance of colours")]

use std::fmt;

/// What text needs on its background (WCAG 2.2, 1.4.3).
pub const READABLE: f64 = 4.5;

/// A colour of sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

impl Colour {
    /// White.
    pub const WHITE: Self = Self([255; 3]);
    /// Black.
    pub const BLACK: Self = Self([0; 3]);

    /// From red, green and blue.
    pub const fn new(rgb: [u8; 3]) -> Self {
        Self(rgb)
    }

    /// Reads `#rrggbb`, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let part = f64::from(channel) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// From 1 (the same brightness) to 21 (black and white).
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// `parts` of 20 of the other colour in this one.
    fn mixed(self, other: Self, parts: u16) -> Self {
        let mut mixed = self.0;
        for (channel, other) in mixed.iter_mut().zip(other.0) {
            let sum = u16::from(*channel) * (20 - parts) + u16::from(other) * parts;
            *channel = u8::try_from(sum / 20).unwrap_or(u8::MAX);
        }
        Self(mixed)
    }

    /// This colour with as little of `other` in it as gives it a contrast of `least` to each of
    /// `papers`.
    pub fn readable_on(self, papers: &[Self], other: Self, least: f64) -> Self {
        let readable = |colour: &Self| papers.iter().all(|one| colour.contrast(*one) >= least);
        (0..=20).map(|parts| self.mixed(other, parts)).find(readable).unwrap_or(other)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::parse(text).unwrap()
    }

    #[test]
    fn only_six_hex_digits_are_a_colour() {
        assert_eq!(colour("#0B57a4").to_string(), "#0b57a4");
        for wrong in ["", "#", "#fff", "0b57a4", "#0b57a", "#0b57a44", "#0b57ag", "blue", "#äöü"]
        {
            assert_eq!(Colour::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn contrast_is_what_wcag_says() {
        assert_eq!(Colour::BLACK.contrast(Colour::WHITE).round(), 21.0);
        assert_eq!(colour("#777777").contrast(colour("#777777")).round(), 1.0);
        // The lightest grey that may stand on white, and the next.
        assert!(colour("#767676").contrast(Colour::WHITE) >= READABLE);
        assert!(colour("#777777").contrast(Colour::WHITE) < READABLE);
    }

    #[test]
    fn a_colour_is_changed_no_more_than_it_needs() {
        let blue = colour("#0b57a4");
        assert_eq!(blue.readable_on(&[Colour::WHITE], Colour::BLACK, READABLE), blue);
        let dark = colour("#16181a");
        for text in ["#000000", "#0b57a4", "#7a0000", "#ffcc00"] {
            let found = colour(text).readable_on(&[dark], Colour::WHITE, READABLE);
            assert!(found.contrast(dark) >= READABLE, "{text} became {found}");
        }
    }
}
