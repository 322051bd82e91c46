use super::secret_c_string::SecretCString;
use super::{NativeFailure, Settings};
use keybound_core::{AttestationToken, Guid, MAX_JWT};
use std::ffi::CString;
use url::Url;

/// The arguments of a call to the library, as C strings. They contain secrets, so there is no `Debug`.
pub(super) struct Arguments {
    pub(super) endpoint: CString,
    pub(super) client_id: CString,
    /// `None` is NULL.
    pub(super) auth_token: Option<SecretCString>,
    pub(super) client_payload: Option<SecretCString>,
}

impl Arguments {
    pub(super) fn new(
        endpoint: &Url,
        client_id: &Guid,
        settings: &Settings,
    ) -> Result<Self, NativeFailure> {
        let contains_nul = |_| NativeFailure::CallFailed("the attestation endpoint contains NUL");
        // The library appends its path to the endpoint.
        let endpoint = endpoint.as_str().trim_end_matches('/');
        let default = |text| (!settings.null_arguments).then(|| SecretCString::terminated(text));
        Ok(Self {
            endpoint: CString::new(endpoint).map_err(contains_nul)?,
            client_id: CString::new(client_id.to_string()).map_err(contains_nul)?,
            auth_token: settings.auth_token.clone().or_else(|| default("")),
            client_payload: settings.client_payload.clone().or_else(|| default("{}")),
        })
    }
}

/// Parses the library's token. Errors contain nothing of it.
pub(super) fn parse_token(bytes: &[u8]) -> Result<AttestationToken, NativeFailure> {
    if bytes.len() > MAX_JWT {
        return Err(NativeFailure::NoToken("returned a token that is too long"));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(NativeFailure::NoToken("returned an empty token"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| NativeFailure::NoToken("returned a token that is not UTF-8"))?;
    AttestationToken::new(text.to_owned())
        .map_err(|_| NativeFailure::NoToken("returned a token that is not a JWT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(settings: &Settings) -> Arguments {
        let endpoint = Url::parse("https://maa.example.net/").unwrap();
        let client_id = Guid::parse("11111111-1111-4111-8111-111111111111").unwrap();
        Arguments::new(&endpoint, &client_id, settings).unwrap()
    }

    #[test]
    fn omits_trailing_slash_of_endpoint() {
        let arguments = arguments(&Settings::default());
        assert_eq!(arguments.endpoint.to_bytes(), b"https://maa.example.net");
        assert_eq!(
            arguments.client_id.to_bytes(),
            b"11111111-1111-4111-8111-111111111111"
        );
    }

    #[test]
    fn unset_arguments_are_empty_or_null() {
        let set = |text: &'static str| Some(SecretCString::terminated(text));
        for (auth_token, client_payload, null_arguments, expected) in [
            (None, None, false, [Some(&b"\0"[..]), Some(b"{}\0")]),
            (None, None, true, [None, None]),
            (set("t"), None, true, [Some(b"t\0"), None]),
            (None, set("p"), true, [None, Some(b"p\0")]),
            (set(""), set(""), true, [Some(b"\0"), Some(b"\0")]),
            (set("t"), set("p"), false, [Some(b"t\0"), Some(b"p\0")]),
        ] {
            let arguments = arguments(&Settings {
                auth_token,
                client_payload,
                null_arguments,
                ..Settings::default()
            });
            let passed = [&arguments.auth_token, &arguments.client_payload];
            let passed = passed.map(|text| text.as_ref().map(SecretCString::as_bytes_with_nul));
            assert_eq!(passed, expected);
        }
    }

    #[test]
    fn attested_or_error_for_every_form_of_token() {
        assert_eq!(parse_token(b"a.b.c").unwrap().expose(), "a.b.c");
        for bytes in [
            &b""[..],
            b" \r\n\t",
            b"a.b",
            b"a.b.c\n",
            b"\xff.b.c",
            &[b'a'; MAX_JWT + 1],
        ] {
            let failure = parse_token(bytes).unwrap_err();
            assert!(matches!(failure, NativeFailure::NoToken(_)), "{failure}");
        }
    }

    #[test]
    fn secrets_stay_secret_in_rejected_tokens() {
        let failure = parse_token(b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtYWEifQ").unwrap_err();
        assert!(!format!("{failure} {failure:?}").contains("eyJ"));
    }
}
