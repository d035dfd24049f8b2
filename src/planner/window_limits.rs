//! Which windows make sense, and which would cost too much.

use crate::error::{Error, SqlState};
use crate::types::WindowKind;

/// The most panes that a window may be put together from, and the most windows that a row may lie
/// in: what closing a window, or correcting all windows of a row, costs at the worst.
const PANES_MAX: i64 = 10_000;

/// Refuses windows whose lengths do not fit each other.
///
/// # Errors
/// Each says what the lengths must be.
pub(super) fn check_kind(kind: WindowKind) -> Result<(), Error> {
    let refused = |message: String| Error::user(SqlState::WindowingError, message);
    match kind {
        WindowKind::Tumble { .. } | WindowKind::Session { .. } => return Ok(()),
        WindowKind::Hop { slide, size, .. } if slide > size => {
            return Err(
                refused("a hopping window's slide is greater than its size".to_owned()).hint(
                    "HOP takes the slide before the size, window(..) after it. Rows between the windows would be lost; \
                     filter them away if that is meant.",
                ),
            );
        }
        WindowKind::Cumulate { step, size, .. } if size % step != 0 => {
            return Err(refused(
                "a cumulating window's size must be a multiple of its step".to_owned(),
            )
            .hint("CUMULATE takes the step before the size."));
        }
        WindowKind::Hop { .. } | WindowKind::Cumulate { .. } => {}
    }
    let (panes, windows) = (kind.size() / kind.pane(), kind.windows_a_row());
    if windows > PANES_MAX {
        return Err(Error::user(
            SqlState::ProgramLimitExceeded,
            format!("each row would lie in {windows} windows; at most {PANES_MAX} are possible"),
        )
        .hint("Let the windows follow each other at a greater distance, or make them smaller."));
    }
    if panes > PANES_MAX {
        return Err(Error::user(
            SqlState::ProgramLimitExceeded,
            format!(
                "each window would be put together from {panes} panes; at most {PANES_MAX} are \
                 possible"
            ),
        )
        .detail(format!(
            "A pane is as long as the greatest common divisor of slide and size: {} microseconds.",
            kind.pane()
        ))
        .hint("Choose a size that is a multiple of the slide."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_kind;
    use crate::types::WindowKind;

    fn hop(slide: i64, size: i64) -> Option<String> {
        let kind = WindowKind::Hop {
            slide,
            size,
            offset: 0,
        };
        check_kind(kind).err().map(|error| error.to_string())
    }

    #[test]
    fn a_hopping_window_may_have_ten_thousand_panes_and_no_more() {
        assert_eq!(hop(1, 10_000), None);
        assert!(hop(1, 10_001).is_some_and(|e| e.contains("10001 windows")));
        assert_eq!(hop(7, 9_999), None, "panes of one");
        assert!(hop(7, 10_001).is_some_and(|e| e.contains("10001 panes")));
        assert!(hop(3, 2).is_some_and(|e| e.contains("greater than its size")));
    }
}
