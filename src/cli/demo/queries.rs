//! The files of `queries/`, and registering what they define.

use std::sync::Arc;

use crate::error::Result;
use crate::session::{Outcome, Services, Session, Statement};

/// Every file of `queries/`, those that others stand on first.
pub(super) const QUERIES: [(&str, &str); 13] = [
    ("trades", include_str!("../../../queries/trades.sql")),
    ("feedback", include_str!("../../../queries/feedback.sql")),
    ("candles", include_str!("../../../queries/candles.sql")),
    (
        "busy_markets",
        include_str!("../../../queries/busy_markets.sql"),
    ),
    ("high_low", include_str!("../../../queries/high_low.sql")),
    (
        "significant_changes",
        include_str!("../../../queries/significant_changes.sql"),
    ),
    (
        "past_minutes",
        include_str!("../../../queries/past_minutes.sql"),
    ),
    (
        "profit_now",
        include_str!("../../../queries/profit_now.sql"),
    ),
    (
        "indicators",
        include_str!("../../../queries/indicators.sql"),
    ),
    ("sentiment", include_str!("../../../queries/sentiment.sql")),
    ("coinbase", include_str!("../../../queries/coinbase.sql")),
    (
        "price_alert",
        include_str!("../../../queries/price_alert.sql"),
    ),
    (
        "market_alerts",
        include_str!("../../../queries/market_alerts.sql"),
    ),
];

/// Runs every definition of every file; live looks, and waiting for what they show, are left to the user.
///
/// # Errors
/// The first statement's error, with the file's name as its detail.
pub(super) async fn register(services: &Arc<Services>) -> Result<()> {
    let mut session = Session::new(Arc::clone(services));
    for (name, text) in QUERIES {
        for parsed in session.parse(text)? {
            if matches!(parsed.statement, Statement::Query(_) | Statement::Flush) {
                continue;
            }
            let outcome = session.execute(parsed, &[]).await;
            match outcome.map_err(|error| error.detail(format!("In queries/{name}.sql.")))? {
                Outcome::Command { .. } | Outcome::Empty => {}
                Outcome::Rows(_) | Outcome::CopyOut(_) => {
                    unreachable!("only queries have rows, and these are skipped")
                }
            }
        }
    }
    Ok(())
}

/// The look at the end of a file, with what it needs to be set, on one line.
pub(super) fn live_look(text: &str) -> String {
    let statement = text.rsplit(";\n\n").next().unwrap_or(text);
    statement.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{QUERIES, live_look};

    #[test]
    fn every_file_of_the_folder_is_known_and_ends_with_a_look() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter_map(|file| file.strip_suffix(".sql").map(str::to_owned))
            .collect();
        files.sort();
        let mut known: Vec<&str> = QUERIES.iter().map(|(name, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(files, known);
        for (name, text) in QUERIES {
            assert!(text.starts_with("-- "), "{name} says what it shows");
            let look = live_look(text);
            assert!(
                look.starts_with("SELECT ") || look.starts_with("SET "),
                "{name}: {look}"
            );
            let is_live = look.contains(" EMIT ");
            assert!(
                is_live || look.contains(" FROM headwater."),
                "{name}: {look}"
            );
        }
    }
}
