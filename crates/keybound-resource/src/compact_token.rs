use crate::{MAX_TOKEN, Reason};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The three parts of a JWT in compact form (RFC 7515 section 7.1), not decoded.
pub(crate) struct CompactToken<'a> {
    pub(crate) header: &'a str,
    pub(crate) claims: &'a str,
    signature: &'a str,
    signed: &'a [u8],
}

impl<'a> CompactToken<'a> {
    /// Splits what follows the scheme into three parts that are not empty. Their alphabet is checked when they are decoded.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TokenTooLong);
        }
        if token.contains(&b' ') {
            return Err(Reason::AuthorizationMalformed);
        }
        let text = std::str::from_utf8(token).map_err(|_| Reason::TokenMalformed)?;
        let parts = text
            .rsplit_once('.')
            .and_then(|(signed, signature)| Some((signed, signed.split_once('.')?, signature)));
        let (signed, (header, claims), signature) = parts.ok_or(Reason::TokenMalformed)?;
        let well_formed = [header, claims, signature]
            .iter()
            .all(|part| !part.is_empty())
            && !claims.contains('.');
        if !well_formed {
            return Err(Reason::TokenMalformed);
        }
        Ok(Self {
            header,
            claims,
            signature,
            signed: signed.as_bytes(),
        })
    }

    /// What the signature covers.
    pub(crate) fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// The signature.
    pub(crate) fn signature(&self) -> Result<Vec<u8>, Reason> {
        decode(self.signature)
    }
}

/// Decodes canonical base64url without padding: a part has one encoding only.
pub(crate) fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Reason::TokenMalformed)
}
