//! A message's headers as one JSON object. Pure.

/// The headers as a JSON object of name to text. A name that comes twice has its last value; bytes
/// that are not UTF-8 become U+FFFD.
#[derive(Debug, Default)]
pub(super) struct HeaderObject(serde_json::Map<String, serde_json::Value>);

impl HeaderObject {
    pub(super) fn insert(&mut self, name: &str, value: Option<&[u8]>) {
        let value = value.map_or(serde_json::Value::Null, |value| {
            String::from_utf8_lossy(value).into_owned().into()
        });
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn into_text(self) -> String {
        serde_json::Value::Object(self.0).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderObject;

    #[test]
    fn the_last_of_a_name_counts_and_null_stays_null() {
        let mut object = HeaderObject::default();
        object.insert("a", Some(b"x\"y"));
        object.insert("none", None);
        object.insert("a", Some(b"\xff"));
        assert_eq!(object.into_text(), "{\"a\":\"\u{fffd}\",\"none\":null}");
    }
}
