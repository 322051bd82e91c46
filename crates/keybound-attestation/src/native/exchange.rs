//! What goes to the library, as C strings, and what comes back.
use super::text::Text;
use super::{NativeFailure, Settings};
use keybound_core::{AttestationToken, Guid, MAX_JWT};
use std::ffi::CString;
use url::Url;

/// One question to the library. `Debug` is not there: it holds what the caller wants kept.
pub(super) struct Question {
    pub(super) endpoint: CString,
    pub(super) client_id: CString,
    /// `None` is NULL.
    pub(super) auth_token: Option<Text>,
    pub(super) client_payload: Option<Text>,
}

impl Question {
    pub(super) fn new(
        endpoint: &Url,
        client_id: &Guid,
        settings: &Settings,
    ) -> Result<Self, NativeFailure> {
        let no_c_string = |_| NativeFailure::NotCalled("the attestation endpoint holds NUL");
        // The library appends its path to the endpoint.
        let endpoint = endpoint.as_str().trim_end_matches('/');
        Ok(Self {
            endpoint: CString::new(endpoint).map_err(no_c_string)?,
            client_id: CString::new(client_id.to_string()).map_err(no_c_string)?,
            auth_token: settings.auth_token(),
            client_payload: settings.client_payload(),
        })
    }
}

/// The library's token. Nothing of what is refused goes into the error.
pub(super) fn token(bytes: &[u8]) -> Result<AttestationToken, NativeFailure> {
    if bytes.len() > MAX_JWT {
        return Err(NativeFailure::NoToken("its token is too long"));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(NativeFailure::NoToken("its token is empty"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| NativeFailure::NoToken("its token is no text (UTF-8)"))?;
    AttestationToken::new(text.to_owned())
        .map_err(|_| NativeFailure::NoToken("its token is no JWT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(settings: &Settings) -> Question {
        let endpoint = Url::parse("https://maa.example.net/").unwrap();
        let client_id = Guid::parse("11111111-1111-4111-8111-111111111111").unwrap();
        Question::new(&endpoint, &client_id, settings).unwrap()
    }

    #[test]
    fn the_endpoint_goes_without_its_last_slash() {
        let question = question(&Settings::default());
        assert_eq!(question.endpoint.to_bytes(), b"https://maa.example.net");
        assert_eq!(
            question.client_id.to_bytes(),
            b"11111111-1111-4111-8111-111111111111"
        );
    }

    #[test]
    fn arguments_that_are_not_set_are_empty_or_null_as_chosen() {
        let set = |text: &'static str| Some(Text::constant(text));
        for (auth_token, client_payload, null_arguments, expected) in [
            (None, None, false, [Some(&b"\0"[..]), Some(b"{}\0")]),
            (None, None, true, [None, None]),
            (set("t"), None, true, [Some(b"t\0"), None]),
            (None, set("p"), true, [None, Some(b"p\0")]),
            (set(""), set(""), true, [Some(b"\0"), Some(b"\0")]),
            (set("t"), set("p"), false, [Some(b"t\0"), Some(b"p\0")]),
        ] {
            let question = question(&Settings {
                auth_token,
                client_payload,
                null_arguments,
                ..Settings::default()
            });
            let passed = [&question.auth_token, &question.client_payload];
            let passed = passed.map(|text| text.as_ref().map(Text::as_bytes_with_nul));
            assert_eq!(passed, expected);
        }
    }

    #[test]
    fn attested_or_error_for_every_shape_of_token() {
        assert_eq!(token(b"a.b.c").unwrap().expose(), "a.b.c");
        for bytes in [
            &b""[..],
            b" \r\n\t",
            b"a.b",
            b"a.b.c\n",
            b"\xff.b.c",
            &[b'a'; MAX_JWT + 1],
        ] {
            let failure = token(bytes).unwrap_err();
            assert!(matches!(failure, NativeFailure::NoToken(_)), "{failure}");
        }
    }

    #[test]
    fn secrets_stay_secret_in_refused_tokens() {
        let failure = token(b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtYWEifQ").unwrap_err();
        assert!(!format!("{failure} {failure:?}").contains("eyJ"));
    }
}
