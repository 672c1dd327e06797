//! What the allow-list silenced, and which of its entries are of no use any more.

use super::plural;
use super::text::Page;
use crate::record::Summary;
use crate::time::Timestamp;

/// Writes a line for each entry. Nothing where there are none.
pub(super) fn write(page: &mut Page, summary: &Summary<'_>) {
    if summary.allow.is_empty() {
        return;
    }
    page.heading("Allow-list");
    let end = Timestamp::from_nanos(summary.stats.last_ns);
    for (entry, outcome) in summary.allow.outcomes() {
        let what = match (outcome.reports, entry.expired(end)) {
            (0, false) => "matched nothing".to_owned(),
            (0, true) if outcome.expired_findings > 0 => {
                let findings = plural(outcome.expired_findings, "finding");
                format!("EXPIRED, and would have silenced {findings}")
            }
            (0, true) => "EXPIRED, and would have matched nothing".to_owned(),
            (_, expired) => {
                let ended = if expired { ", and has EXPIRED since" } else { "" };
                format!("silenced {}{ended}", plural(outcome.findings, "finding"))
            }
        };
        let expiry = match entry.expiry() {
            Some(expiry) => format!("until {}", &expiry.to_string()[..10]),
            None => "without expiry".to_owned(),
        };
        page.item(&format!("{entry}: {what} ({}; {}; {expiry})", entry.reason, entry.owner));
    }
}
