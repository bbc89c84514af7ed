//! How the pages look: the operator's brand, and the files that every page links to. They are in
//! the binary, have a name made from their content, and so may be kept by browsers for ever.
//! Made once at start; the pages of customers and operators share it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use super::json::Path;
use super::{HttpState, Problem};
use crate::app::{Code, Refusal};
use crate::config::Brand;
use crate::domain::bearer::{sha256_base64, sha256_hex};

const STYLE: &str = include_str!("../../templates/static/style.css");
const DOOR: &str = include_str!("../../templates/static/door.css");
const ICON: &str = include_str!("../../templates/static/icon.svg");
const SCRIPTS: [(&str, &str); 3] = [
    ("page.js", include_str!("../../templates/static/page.js")),
    ("live.js", include_str!("../../templates/static/live.js")),
    ("rent.js", include_str!("../../templates/static/rent.js")),
];

/// A file of ours.
struct Asset {
    name: String,
    /// Where it is.
    path: String,
    /// The beginning of its hash.
    tag: String,
    kind: &'static str,
    bytes: Bytes,
}

/// The brand and the files. Templates read it as `look`.
pub struct Look {
    /// The shop's name.
    pub name: String,
    /// Where the logo is.
    pub logo: Option<String>,
    /// Where the picture for a tab is.
    pub icon: String,
    /// A line at the end of each page.
    pub footer: Option<String>,
    /// Whom to ask: what to show, and where it leads.
    pub contact: Option<(String, String)>,
    /// The style of the gate's own page, and the policy that allows it and nothing else.
    pub door: (String, String),
    assets: Vec<Asset>,
}

impl Look {
    /// Of a brand.
    pub fn new(brand: &Brand) -> Self {
        let accents = format!(
            ":root{{--accent:{}}}@media (prefers-color-scheme:dark){{:root{{--accent:{}}}}}\n",
            brand.accent,
            brand.accent_at_night()
        );
        let style = format!("{STYLE}{accents}@media print{{:root{{--accent:#000}}}}\n");
        let door = format!("{DOOR}{accents}");
        let door_policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; form-action 'none'; base-uri 'none'; \
             frame-ancestors 'none'",
            sha256_base64(door.as_bytes())
        );
        let mut assets = vec![asset("style.css", "text/css; charset=utf-8", style.into())];
        for (name, text) in SCRIPTS {
            assets.push(asset(
                name,
                "text/javascript; charset=utf-8",
                Bytes::from_static(text.as_bytes()),
            ));
        }
        let logo = brand.logo.as_ref().map(|logo| {
            asset(&format!("logo.{}", logo.ending), logo.kind, logo.bytes.clone().into())
        });
        let logo_path = logo.as_ref().map(|logo| logo.path.clone());
        let icon = asset("icon.svg", "image/svg+xml", brand_icon(brand));
        let icon_path = logo_path.clone().unwrap_or_else(|| icon.path.clone());
        assets.push(icon);
        assets.extend(logo);
        Self {
            name: brand.name.clone(),
            logo: logo_path,
            icon: icon_path,
            footer: brand.footer.clone(),
            contact: brand.contact.clone().zip(brand.contact_url()),
            door: (door, door_policy),
            assets,
        }
    }

    /// The path of a file, for templates.
    pub fn asset(&self, name: &str) -> &str {
        let found = self.assets.iter().find(|asset| asset.name == name);
        found.map(|asset| asset.path.as_str()).unwrap_or_default()
    }
}

impl Default for Look {
    fn default() -> Self {
        Self::new(&Brand::default())
    }
}

/// The picture for a tab of a shop without a logo, in its colour.
fn brand_icon(brand: &Brand) -> Bytes {
    let default = Brand::default().accent.to_string();
    ICON.replace(&default, &brand.accent.to_string()).into()
}

fn asset(name: &str, kind: &'static str, bytes: Bytes) -> Asset {
    let tag = sha256_hex(&bytes)[..16].to_owned();
    Asset { name: name.to_owned(), path: format!("/assets/{tag}/{name}"), tag, kind, bytes }
}

/// The routes of the files.
pub(super) fn router() -> Router<HttpState> {
    Router::new().route("/assets/{tag}/{name}", get(file))
}

async fn file(
    State(state): State<HttpState>,
    Path((tag, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let unknown = || Refusal::new(Code::NotFound, "there is no such file");
    let look: &Arc<Look> = &state.look;
    let asset = look.assets.iter().find(|asset| asset.name == name).ok_or_else(unknown)?;
    let etag = format!("\"{}\"", asset.tag);
    // An older page asks for an older file: it gets today's, and may not keep it under that name.
    let keep = match asset.tag == tag {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str());
    let fixed = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, keep)];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    Ok((fixed, [(header::CONTENT_TYPE, asset.kind)], asset.bytes.clone()).into_response())
}
