//! SQL in pages and files: which statements a reader finds there.
//!
//! Knows just enough of SQL's text to find a statement's end: quotes and `--` comments.

/// The blocks between ```` ```sql ```` and ```` ``` ````, each with the line where it begins.
pub(crate) fn snippets(page: &str) -> Vec<(usize, String)> {
    let mut snippets = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.trim()) {
            (None, "```sql") => open = Some((number + 2, String::new())),
            (Some(_), "```") => snippets.extend(open.take()),
            (Some((_, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    snippets
}

/// The statements of a text, without their semicolons.
pub(crate) fn statements(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut quote) = (0, None);
    let mut letters = text.char_indices().peekable();
    while let Some((place, letter)) = letters.next() {
        match (quote, letter) {
            (None, '-') if text[place..].starts_with("--") => {
                while letters.next_if(|(_, letter)| *letter != '\n').is_some() {}
            }
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if letter == open => quote = None,
            (None, ';') => {
                statements.push(text[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    statements.push(text[start..].trim());
    statements.retain(|statement| !statement.is_empty());
    statements
}
