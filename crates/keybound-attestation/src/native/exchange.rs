//! What goes to the library, as C strings, and what comes back.
use super::NativeFailure;
use super::text::Text;
use keybound_core::{AttestationToken, Guid, MAX_JWT};
use std::ffi::CString;
use url::Url;

/// One question to the library. `Debug` is not there: it holds what the caller wants kept.
pub(super) struct Question {
    pub(super) endpoint: CString,
    pub(super) client_id: CString,
    pub(super) auth_token: Text,
    pub(super) client_payload: Text,
}

impl Question {
    pub(super) fn new(
        endpoint: &Url,
        client_id: &Guid,
        auth_token: &Text,
        client_payload: &Text,
    ) -> Result<Self, NativeFailure> {
        let no_c_string = |_| NativeFailure::NotCalled("the attestation endpoint holds NUL");
        // The library appends its path to the endpoint.
        let endpoint = endpoint.as_str().trim_end_matches('/');
        Ok(Self {
            endpoint: CString::new(endpoint).map_err(no_c_string)?,
            client_id: CString::new(client_id.to_string()).map_err(no_c_string)?,
            auth_token: auth_token.clone(),
            client_payload: client_payload.clone(),
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

    #[test]
    fn the_endpoint_goes_without_its_last_slash() {
        let endpoint = Url::parse("https://maa.example.net/").unwrap();
        let client_id = Guid::parse("11111111-1111-4111-8111-111111111111").unwrap();
        let (empty, payload) = (Text::constant(""), Text::constant("{}"));
        let question = Question::new(&endpoint, &client_id, &empty, &payload).unwrap();
        assert_eq!(question.endpoint.to_bytes(), b"https://maa.example.net");
        assert_eq!(
            question.client_id.to_bytes(),
            b"11111111-1111-4111-8111-111111111111"
        );
        assert_eq!(question.auth_token.as_bytes_with_nul(), b"\0");
        assert_eq!(question.client_payload.as_bytes_with_nul(), b"{}\0");
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
