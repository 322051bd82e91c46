use super::ManagedIdentitySource;
use super::expiry::Expiry;
use super::identity_echo::{IdentityEcho, check_claims};
use crate::json::read_response;
use crate::{
    Error, ErrorKind, MAX_JWT, ManagedIdentity, Result, SecretString, Stage, TokenType,
    UnverifiedJwt, secret,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The token in a response of a source, a bearer token of the requested identity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceToken {
    /// The token.
    pub access_token: SecretString,
    /// The time until it expires: the shortest that the response and the token's claim `exp` name, at most 24 hours, so that a
    /// token with a wrong expiry is fetched again.
    pub life: Duration,
    /// The time until a refresh, if the source sent one: more than zero, at most the lifetime.
    pub refresh_in: Option<Duration>,
}

impl SourceToken {
    /// Parses the body of the response to a request for this identity
    /// ([`SourceEndpoint::requested_identity`](super::SourceEndpoint::requested_identity)). `now` is the later one of the source's
    /// time and the host's: a wrong clock must not extend the lifetime.
    ///
    /// # Errors
    /// [`ErrorKind::TokenTypeMismatch`] if the type is not `Bearer` in any case; a missing one is accepted, as v1 has no other,
    /// unless the token has the claim `cnf`.
    /// [`ErrorKind::IdentityMismatch`] if the response or the token names another identity, or if Azure Arc names none. A request
    /// for the system-assigned identity must not return a user-assigned one, except from IMDS.
    /// [`ErrorKind::ResponseTooLarge`] beyond [`MAX_BODY`](crate::MAX_BODY). [`ErrorKind::InvalidResponse`] if there is no token, or its
    /// expiry is unknown or past.
    pub fn parse(
        body: &[u8],
        source: ManagedIdentitySource,
        identity: &ManagedIdentity,
        now: SystemTime,
    ) -> Result<Self> {
        let wire: Wire = read_response(body, Stage::Source, "the response of the source")?;
        check_text(&wire.access_token)?;
        // A token may be opaque.
        let jwt = UnverifiedJwt::parse(wire.access_token.expose());
        check_type(wire.token_type.as_deref(), jwt.as_ref())?;
        let echo = IdentityEcho {
            client_id: wire.client_id.as_deref(),
            object_id: wire.object_id.as_deref(),
            resource_ids: [wire.msi_res_id.as_deref(), wire.mi_res_id.as_deref()],
        };
        echo.check(source, identity)?;
        if let Some(jwt) = &jwt {
            check_claims(jwt, source, identity)?;
        }
        let life = wire.life(jwt.as_ref(), now)?;
        let refresh_in = wire.refresh_in.as_deref().and_then(Expiry::within);
        Ok(Self {
            access_token: wire.access_token,
            life,
            refresh_in: match refresh_in {
                Some(Expiry::In(time)) if time <= life => Some(time),
                _ => None,
            },
        })
    }
}

// Raw: a member that is not needed may have any type.
#[derive(Deserialize)]
struct Wire {
    #[serde(deserialize_with = "secret::deserialize")]
    access_token: SecretString,
    token_type: Option<Box<RawValue>>,
    expires_on: Option<Box<RawValue>>,
    expires_in: Option<Box<RawValue>>,
    refresh_in: Option<Box<RawValue>>,
    client_id: Option<Box<RawValue>>,
    object_id: Option<Box<RawValue>>,
    msi_res_id: Option<Box<RawValue>>,
    mi_res_id: Option<Box<RawValue>>,
}

impl Wire {
    /// The shortest lifetime of those that are named. IMDS caches tokens, and `expires_in` may be that of the time of issue.
    fn life(&self, jwt: Option<&UnverifiedJwt>, now: SystemTime) -> Result<Duration> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let claim = jwt.map(UnverifiedJwt::expires).transpose();
        let claim = claim
            .map_err(|_| invalid("the claim exp of the token is not a number"))?
            .flatten();
        let on = self.expires_on.as_deref().map(Expiry::on).transpose();
        // `expires_in` may be that of the time of issue: it does not replace an end that is named.
        if on.is_err() && claim.is_none() {
            return Err(invalid(
                "the response of the source names no readable expiry",
            ));
        }
        let named = [
            on.unwrap_or_default().flatten(),
            self.expires_in.as_deref().and_then(Expiry::within),
            claim.map(Expiry::At),
        ];
        let lives = named.into_iter().flatten().map(|expiry| match expiry {
            Expiry::At(time) => time.saturating_sub(now),
            Expiry::In(time) => time,
        });
        match lives.min() {
            None => Err(invalid(
                "the response of the source names no readable expiry",
            )),
            Some(Duration::ZERO) => Err(invalid(
                "the access token had expired before it was requested",
            )),
            Some(life) => Ok(life.min(MAX_LIFETIME)),
        }
    }
}

/// A missing type is that of version 1, unless the token has the claim `cnf`: it is bound to a key.
fn check_type(raw: Option<&RawValue>, jwt: Option<&UnverifiedJwt>) -> Result<()> {
    let name = match raw {
        Some(raw) => string(raw),
        None => Some(String::new()),
    };
    let bearer = TokenType::Bearer.as_str();
    let bound = jwt.is_some_and(|jwt| jwt.claims.get("cnf").is_some());
    if name.is_some_and(|name| match name.is_empty() {
        true => !bound,
        false => name.eq_ignore_ascii_case(bearer),
    }) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TokenTypeMismatch,
        Stage::Source,
        "the requested token type is Bearer, and the response has another type",
    ))
}

fn check_text(token: &SecretString) -> Result<()> {
    let text = token.expose();
    let visible = |byte: u8| (0x21..=0x7e).contains(&byte);
    if text.is_empty() || text.len() > MAX_JWT || !text.bytes().all(visible) {
        return Err(invalid(
            "access_token of the response is empty, too long or not printable",
        ));
    }
    Ok(())
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn invalid(message: &'static str) -> Error {
    Error::invalid_response(Stage::Source, message)
}

/// After it a token is fetched again.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
