use keybound::Guid;
use keybound_core::redact;

/// Removes secrets and ids from texts of a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conceal {
    /// Whether ids are printed whole.
    pub(crate) show_ids: bool,
}

impl Conceal {
    /// Redacts a text from outside, and abbreviates ids.
    pub(crate) fn text(self, text: &str) -> String {
        self.ids(&redact(text))
    }

    /// Abbreviates GUIDs to their first eight digits, unless full ids were requested.
    pub(crate) fn ids(self, text: &str) -> String {
        if self.show_ids {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match rest.get(..GUID_LENGTH).and_then(Guid::parse) {
                Some(guid) => {
                    out.push_str(&guid.as_str()[..8]);
                    out.push('…');
                    rest = &rest[GUID_LENGTH..];
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }
}

const GUID_LENGTH: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviates_ids_at_any_position_unless_requested() {
        let text = "ü CN=5A5a5a5a-1111-2222-3333-444444444444,/11111111-2222-3333-4444-555555555555x 5a5a5a5a-1111";
        let concealed = Conceal { show_ids: false }.text(text);
        assert_eq!(concealed, "ü CN=5A5a5a5a…,/11111111…x 5a5a5a5a-1111");
        assert_eq!(Conceal { show_ids: true }.ids(text), text);
    }

    #[test]
    fn redacts_tokens() {
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.sig", "a".repeat(50));
        for show_ids in [false, true] {
            let text = Conceal { show_ids }.text(&format!("echo: mtls_pop {token}"));
            assert!(!text.contains("eyJ"), "{text}");
        }
    }
}
