//! `[brand]`: what the pages look like. The accent must be readable on a white page; on a dark one
//! a lighter shade of it is used. Called by `Config::load`; the pages get the result.

use std::path::Path;

use crate::domain::colour::{Colour, READABLE};
use crate::settings::Fields;

/// The papers that text stands on: page and card, as in `templates/static/style.css`.
pub const LIGHT: [Colour; 2] = [Colour::new([0xff; 3]), Colour::new([0xf3, 0xf5, 0xf7])];
/// The same at night.
pub const DARK: [Colour; 2] = [Colour::new([0x14, 0x17, 0x1a]), Colour::new([0x1e, 0x22, 0x27])];

/// More than must be: thin letters glow less on a dark page.
const AT_NIGHT: f64 = 6.5;
const ACCENT: Colour = Colour::new([0x0b, 0x57, 0xa4]);
const MOST_LOGO_BYTES: u64 = 64 * 1024;
const KINDS: [(&str, &str); 4] =
    [("svg", "image/svg+xml"), ("png", "image/png"), ("webp", "image/webp"), ("jpg", "image/jpeg")];

/// `[brand]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    /// The shop's name.
    pub name: String,
    /// A picture before the name.
    pub logo: Option<Logo>,
    /// The colour of links and buttons on a light page.
    pub accent: Colour,
    /// A line at the end of each page.
    pub footer: Option<String>,
    /// Where customers ask: an e-mail address or an https address.
    pub contact: Option<String>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logo {
    /// Its media type.
    pub kind: &'static str,
    /// The ending of its file's name.
    pub ending: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Default for Brand {
    fn default() -> Self {
        Self { name: "Leasehold".into(), logo: None, accent: ACCENT, footer: None, contact: None }
    }
}

impl Brand {
    /// The colour of links and buttons on a dark page: the accent, lighter where it must be.
    pub fn accent_at_night(&self) -> Colour {
        self.accent.readable_on(&DARK, Colour::WHITE, AT_NIGHT)
    }

    /// Where a click on the contact leads.
    pub fn contact_url(&self) -> Option<String> {
        let contact = self.contact.as_deref()?;
        let web = contact.starts_with("https://");
        Some(if web { contact.to_owned() } else { format!("mailto:{contact}") })
    }
}

/// Reads the section.
pub(super) fn brand(mut fields: Fields<'_>, base: &Path) -> Brand {
    let default = Brand::default();
    let short = |fields: &mut Fields<'_>, key, most: usize| {
        fields.take(key, format!("one line of 1 to {most} characters"), |given| {
            let text = given.text()?.trim();
            let fits = (1..=most).contains(&text.chars().count());
            (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
        })
    };
    let brand = Brand {
        name: short(&mut fields, "name", 40).unwrap_or(default.name),
        logo: logo(&mut fields, base),
        accent: accent(&mut fields).unwrap_or(default.accent),
        footer: short(&mut fields, "footer", 300),
        contact: fields.take(
            "contact",
            "an e-mail address such as \"help@example.org\", or an https:// address",
            |given| {
                let text = given.text()?.trim();
                let plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= 200;
                let mail = text.split_once('@').is_some_and(|(name, host)| {
                    !name.is_empty() && host.contains('.') && !text.contains([':', '?', '&', '/'])
                });
                let web = text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
                (plain && (mail || web)).then(|| text.to_owned())
            },
        ),
    };
    fields.finish();
    brand
}

fn accent(fields: &mut Fields<'_>) -> Option<Colour> {
    let allowed = "a colour such as \"#0b57a4\"";
    let accent = fields.take("accent", allowed, |given| Colour::parse(given.text()?.trim()))?;
    let readable = |paper: &Colour| accent.contrast(*paper) >= READABLE;
    if LIGHT.iter().all(readable) {
        return Some(accent);
    }
    let better = accent.readable_on(&LIGHT, Colour::BLACK, READABLE);
    fields.wrong(
        "accent",
        format!(
            "{accent} is too light: text in it could not be read on a white page (contrast below \
             4.5); the nearest that can is \"{better}\""
        ),
    );
    None
}

fn logo(fields: &mut Fields<'_>, base: &Path) -> Option<Logo> {
    let name = fields.text("logo")?;
    let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let ending = if ending == "jpeg" { "jpg" } else { ending.as_str() };
    let Some((ending, kind)) = KINDS.into_iter().find(|(known, _)| *known == ending) else {
        fields.wrong("logo", "allowed: a file that ends in .svg, .png, .webp or .jpg");
        return None;
    };
    let file = base.join(&name);
    let bytes = match std::fs::metadata(&file).map(|found| found.len()) {
        Ok(length) if length > MOST_LOGO_BYTES => {
            fields.wrong("logo", format!("the file {name:?} is larger than 64 KiB"));
            return None;
        }
        _ => std::fs::read(&file),
    };
    match bytes {
        Ok(bytes) => Some(Logo { kind, ending, bytes }),
        Err(error) => {
            fields.wrong("logo", format!("the file {name:?} cannot be read: {error}"));
            None
        }
    }
}
