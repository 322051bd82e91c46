use crate::{MAX_TOKEN, Reason};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The three parts of a JWT in compact form (RFC 7515 section 7.1), decoded.
pub(crate) struct CompactToken<'a> {
    /// One part after the other.
    decoded: Vec<u8>,
    claims_start: usize,
    signature_start: usize,
    signed: &'a [u8],
}

impl<'a> CompactToken<'a> {
    /// Splits what follows the scheme into three parts that are not empty, and decodes them.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TokenTooLong);
        }
        Self::decode(token).ok_or_else(|| match token.contains(&b' ') {
            true => Reason::AuthorizationMalformed,
            false => Reason::TokenMalformed,
        })
    }

    /// Canonical base64url without padding: a part has one encoding only. No other byte is accepted, so that a fourth part is none
    /// either.
    fn decode(token: &'a [u8]) -> Option<Self> {
        let is_dot = |byte: &u8| *byte == b'.';
        let signed = &token[..token.iter().rposition(is_dot)?];
        let header = &signed[..signed.iter().position(is_dot)?];
        let claims = &signed[header.len() + 1..];
        let signature = &token[signed.len() + 1..];
        // No reallocation: the text of the parts is longer.
        let mut decoded = Vec::with_capacity(token.len());
        let mut append = |part: &[u8]| {
            let start = decoded.len();
            URL_SAFE_NO_PAD.decode_vec(part, &mut decoded).ok()?;
            (decoded.len() > start).then_some(start)
        };
        append(header)?;
        let claims_start = append(claims)?;
        let signature_start = append(signature)?;
        Some(Self {
            decoded,
            claims_start,
            signature_start,
            signed,
        })
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.decoded[..self.claims_start]
    }

    pub(crate) fn claims(&self) -> &[u8] {
        &self.decoded[self.claims_start..self.signature_start]
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.decoded[self.signature_start..]
    }

    /// What the signature covers.
    pub(crate) fn signed(&self) -> &'a [u8] {
        self.signed
    }
}
