//! Arrays as PostgreSQL writes them in a text.

/// The items of `{1,NULL,"a b"}`; arrays of arrays are not taken.
pub fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let (mut item, mut quoted, mut inside) = (String::new(), false, false);
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => item.push(letters.next()?),
            '"' => {
                inside = !inside;
                quoted = true;
            }
            ',' if !inside => {
                items.push(array_item(&item, quoted));
                (item, quoted) = (String::new(), false);
            }
            '{' | '}' if !inside => return None,
            space if !inside && item.is_empty() && space.is_whitespace() => {}
            other => item.push(other),
        }
    }
    items.push(array_item(&item, quoted));
    (!inside).then_some(items)
}

fn array_item(item: &str, quoted: bool) -> Option<String> {
    if quoted {
        return Some(item.to_owned());
    }
    let item = item.trim_end();
    (!item.eq_ignore_ascii_case("null")).then(|| item.to_owned())
}
