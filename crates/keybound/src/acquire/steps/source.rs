use crate::access_token::{IssuedToken, ReceivedToken};
use crate::acquire::{Flow, Plan};
use crate::arc_key;
use crate::cache::{CachedToken, DualTime};
use crate::retry_after::service_time;
use crate::step::Step;
use crate::wire::Route;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use keybound_core::retry::Leg;
use keybound_core::source::{
    ArcChallenge, SourceEndpoint, SourceMethod, SourceQuery, SourceRequest, SourceToken,
    source_error_kind,
};
use keybound_core::{
    Error, ErrorKind, ManagedIdentitySource, Result, SecretString, ServiceError, Stage, TokenType,
};
use keybound_transport::{HttpsClient, HttpsSettings, ProxyConfig, RequestBody};

impl Flow {
    /// Requests a bearer token from the host's source and checks it. `revoked` is the cached token, if a resource rejected it.
    /// Returns the token with the time before the request, from which its lifetime is counted.
    pub(in crate::acquire) async fn source_token(
        &self,
        plan: &Plan,
        revoked: Option<&CachedToken>,
    ) -> Result<(IssuedToken, DualTime)> {
        let settings = &self.context.settings;
        let endpoint = settings.shared.source.endpoint()?;
        let request = endpoint.request(&SourceQuery {
            resource: plan.key.scope.resource(),
            identity: &settings.identity,
            capabilities: &settings.shared.capabilities,
            revoked: revoked.map(|token| &token.issued.secret),
        })?;
        let (token, requested) = match endpoint.source() {
            ManagedIdentitySource::AzureArc => self.arc_token(endpoint, &request).await?,
            _ => {
                let token = self.request_source_token(endpoint, &request, None);
                self.step(Step::Source, token).await?
            }
        };
        let received = ReceivedToken {
            secret: token.access_token,
            token_type: TokenType::Bearer,
            scope: plan.key.scope.clone(),
            source: Some(endpoint.source()),
            life: token.life,
            refresh_in: token.refresh_in,
        };
        Ok((
            IssuedToken::new(received, requested, Stage::Source)?,
            requested,
        ))
    }

    /// A token of the agent of Azure Arc. The agent deletes old key files: if it does not accept a key, one new challenge follows.
    async fn arc_token(
        &self,
        endpoint: &SourceEndpoint,
        request: &SourceRequest,
    ) -> Result<(SourceToken, DualTime)> {
        let rejection = match self.challenged_token(endpoint, request).await {
            // The errors of challenges are of another kind.
            Err(error)
                if error.kind() == ErrorKind::Refused
                    && error.status() == Some(UNAUTHORIZED)
                    && self.context.settings.retries =>
            {
                error
            }
            result => return result,
        };
        tracing::info!(request_id = %self.request_id, "the agent rejected the key: requesting a new challenge");
        self.progress.note_failure(rejection);
        self.challenged_token(endpoint, request).await
    }

    async fn challenged_token(
        &self,
        endpoint: &SourceEndpoint,
        request: &SourceRequest,
    ) -> Result<(SourceToken, DualTime)> {
        let requested = self.context.now();
        let challenge = self.arc_challenge(endpoint, request);
        match self.step(Step::Challenge, challenge).await? {
            Challenge::Key(key) => {
                let token = self.request_source_token(endpoint, request, Some(&key));
                self.step(Step::Source, token).await
            }
            Challenge::None(response) => {
                let parsed =
                    async { self.parse_source_token(endpoint, None, &response, requested) };
                self.step(Step::Source, parsed).await
            }
        }
    }

    async fn request_source_token(
        &self,
        endpoint: &SourceEndpoint,
        request: &SourceRequest,
        key: Option<&SecretString>,
    ) -> Result<(SourceToken, DualTime)> {
        let requested = self.context.now();
        let response = self.send_to_source(endpoint, request, key).await?;
        self.parse_source_token(endpoint, key, &response, requested)
    }

    fn parse_source_token(
        &self,
        endpoint: &SourceEndpoint,
        key: Option<&SecretString>,
        response: &Response<Bytes>,
        requested: DualTime,
    ) -> Result<(SourceToken, DualTime)> {
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(self.source_error(endpoint, key, response));
        }
        // A wrong clock must not extend the lifetime; the one of a server without TLS is not authenticated.
        let now = service_time(response.headers())
            .map_or(requested.wall, |time| time.max(requested.wall));
        let identity = endpoint.requested_identity(&self.context.settings.identity);
        let token = SourceToken::parse(response.body(), endpoint.source(), &identity, now);
        let token = token.map_err(|error| match error.service() {
            Some(_) => {
                let secret = key.or(endpoint.secret());
                error.with_service(ServiceError::parse_without(response.body(), secret))
            }
            None => error,
        })?;
        Ok((token, requested))
    }

    /// The content of the file that the agent of Azure Arc names: the caller of the agent proves by it that it may read the file.
    async fn arc_challenge(
        &self,
        endpoint: &SourceEndpoint,
        request: &SourceRequest,
    ) -> Result<Challenge> {
        let response = self.send_to_source(endpoint, request, None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(Challenge::None(response));
        }
        let directory = self.context.settings.arc_tokens.clone()?;
        let values = response.headers().get_all(WWW_AUTHENTICATE).into_iter();
        let values = values.map(HeaderValue::as_bytes);
        let challenge = ArcChallenge::parse(values, &directory, arc_key::PLATFORM)
            .map_err(|error| error.with_status(response.status().as_u16()))?;
        let key = arc_key::read(directory, challenge).await?;
        Ok(Challenge::Key(key))
    }

    /// Returns a response with status 200 or 401.
    async fn send_to_source(
        &self,
        endpoint: &SourceEndpoint,
        request: &SourceRequest,
        key: Option<&SecretString>,
    ) -> Result<Response<Bytes>> {
        let leg = match endpoint.source() {
            ManagedIdentitySource::Imds => Leg::Imds,
            _ => Leg::OtherSource,
        };
        let route = match endpoint.is_https() {
            true => Route::Source(self.source_client(endpoint)?),
            false => Route::Plain,
        };
        let check = |response: Response<Bytes>| match response.status() {
            StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(response),
            _ => Err(self.source_error(endpoint, key, &response)),
        };
        self.send_checked(leg, route, Stage::Source, check, || {
            self.source_request(request, key)
        })
        .await
    }

    /// The client for a source with an https address, which uses no proxy. All clients that share a state have the same source.
    fn source_client(&self, endpoint: &SourceEndpoint) -> Result<&HttpsClient> {
        let client = &self.context.state.inner().source_client;
        if let Some(client) = client.get() {
            return Ok(client);
        }
        let https = &self.context.settings.shared.https;
        let new = match endpoint.server_thumbprint() {
            Some(certificate) => HttpsClient::pinned(certificate, https.engine),
            None => {
                let settings = HttpsSettings {
                    proxy: ProxyConfig::none(),
                    ..https.clone()
                };
                HttpsClient::new(None, settings)
            }
        };
        let new = new.map_err(|error| error.at(Stage::Source))?;
        Ok(client.get_or_init(|| new))
    }

    fn source_request(
        &self,
        request: &SourceRequest,
        key: Option<&SecretString>,
    ) -> http::Result<Request<RequestBody>> {
        let method = match request.method {
            SourceMethod::Get => Method::GET,
            SourceMethod::Post => Method::POST,
        };
        let mut builder = Request::builder()
            .method(method)
            .uri(request.url.as_str())
            .header(ACCEPT, "application/json")
            .header("x-ms-client-request-id", self.request_id.to_string());
        for (name, value) in &request.headers {
            builder = builder.header(*name, sensitive(value.expose())?);
        }
        if let Some(key) = key {
            let value = SecretString::new(format!("Basic {}", key.expose()));
            builder = builder.header(AUTHORIZATION, sensitive(value.expose())?);
        }
        builder.body(match &request.body {
            Some(form) => RequestBody::full(form.clone()),
            None => RequestBody::empty(),
        })
    }

    /// The error of a response to a request with this key of Azure Arc, if any.
    fn source_error(
        &self,
        endpoint: &SourceEndpoint,
        key: Option<&SecretString>,
        response: &Response<Bytes>,
    ) -> Error {
        let status = response.status().as_u16();
        let (body, secret) = (response.body(), key.or(endpoint.secret()));
        // The body of a successful response may hold a token: only an error object is read.
        let service = match response.status().is_success() {
            true => ServiceError::parse_without(body, secret),
            false => ServiceError::from_response_without(body, secret),
        };
        let (source, identity) = (endpoint.source(), &self.context.settings.identity);
        let kind = source_error_kind(source, identity, status, service.as_ref());
        let reason = match kind {
            ErrorKind::IdentityNotFound => "did not find the managed identity",
            ErrorKind::RedirectNotAllowed => "responded with a redirect",
            ErrorKind::ServiceUnavailable => "failed or throttled the request",
            ErrorKind::InvalidResponse => "responded with an unexpected status",
            _ => "rejected the request",
        };
        Error::new(kind, Stage::Source, format!("{source} {reason}"))
            .with_status(status)
            .with_service(service)
    }
}

/// The result of a request without a key to the agent of Azure Arc.
enum Challenge {
    /// The key for the next request.
    Key(SecretString),
    /// The response of an agent that does not require a key.
    None(Response<Bytes>),
}

fn sensitive(value: &str) -> http::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value)?;
    value.set_sensitive(true);
    Ok(value)
}

const UNAUTHORIZED: u16 = 401;
