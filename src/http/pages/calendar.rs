//! The end of a lease for a calendar, with a reminder (RFC 5545).

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::checkout::title;
use super::leasing::paid_end;
use super::problem::Wrong;
use crate::app::view::{self, LeaseView};
use crate::app::{Code, Refusal, read};
use crate::domain::time::Timestamp;
use crate::http::HttpState;
use crate::http::json::Path;

const HOUR_S: u64 = 3600;
/// The longest line, in octets, without its end.
const MOST_OCTETS: usize = 75;

/// `GET /leases/{id}/calendar.ics`
pub(super) async fn calendar(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let view = view::lease(&row, &state.scene());
    let none = || Refusal::new(Code::NotFound, "this lease has no end to remember yet");
    let end = paid_end(&view).ok_or_else(none)?;
    let title = title(&state, &view.resource).await?;
    let text = event(&view, end, &title, state.clock.now());
    let kind = (header::CONTENT_TYPE, "text/calendar; charset=utf-8");
    let name = (header::CONTENT_DISPOSITION, "attachment; filename=\"lease.ics\"");
    Ok(([kind, name], text).into_response())
}

fn event(view: &LeaseView, end: Timestamp, title: &str, now: Timestamp) -> String {
    // A reminder a whole hour before, or half of the time for a short lease.
    let start = view.starts_at.unwrap_or(now);
    let before_s = HOUR_S.min(start.seconds_until(end) / 2).max(60);
    let (at, made) = (stamp(end), stamp(now));
    let title = escaped(title);
    let lines = [
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".into(),
        "PRODID:-//Leasehold//EN".into(),
        "METHOD:PUBLISH".into(),
        "BEGIN:VEVENT".into(),
        format!("UID:{}@leasehold", view.id),
        format!("SEQUENCE:{}", view.seq),
        format!("DTSTAMP:{made}"),
        // Without an end it is over when it begins (section 3.6.1).
        format!("DTSTART:{at}"),
        format!("SUMMARY:{title}: the lease ends"),
        "DESCRIPTION:Pay for more before then to go on.".into(),
        format!("URL:{}", view.links.checkout),
        "TRANSP:TRANSPARENT".into(),
        "BEGIN:VALARM".into(),
        "ACTION:DISPLAY".into(),
        format!("DESCRIPTION:{title}: the lease ends soon"),
        format!("TRIGGER:-PT{}M", before_s / 60),
        "END:VALARM".into(),
        "END:VEVENT".into(),
        "END:VCALENDAR".into(),
    ];
    lines.iter().map(|line| folded(line)).collect()
}

/// `20260101T120000Z`
fn stamp(at: Timestamp) -> String {
    at.to_string().split('.').next().unwrap_or_default().replace(['-', ':'], "") + "Z"
}

/// Text as a value (section 3.3.11).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,").replace('\n', "\\n")
}

/// A line in parts that are short enough (section 3.1), never within a character.
fn folded(line: &str) -> String {
    let (mut out, mut length) = (String::with_capacity(line.len() + 2), 0);
    for letter in line.chars().filter(|letter| *letter != '\r') {
        if length + letter.len_utf8() > MOST_OCTETS {
            out.push_str("\r\n ");
            length = 1;
        }
        out.push(letter);
        length += letter.len_utf8();
    }
    out + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_folded_between_characters() {
        let text = folded(&"ä".repeat(80));
        assert!(text.ends_with("\r\n"));
        for line in text.trim_end().split("\r\n") {
            assert!(line.len() <= MOST_OCTETS, "{line}");
        }
        assert_eq!(text.replace("\r\n ", "").trim_end(), "ä".repeat(80));
    }

    #[test]
    fn moments_and_text_are_as_calendars_want_them() {
        assert_eq!(stamp(Timestamp::from_millis(1_795_000_000_123)), "20261118T110640Z");
        assert_eq!(escaped("a,b;c\\d\ne"), "a\\,b\\;c\\\\d\\ne");
    }
}
