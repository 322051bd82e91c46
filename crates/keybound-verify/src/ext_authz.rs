//! Envoy's external authorization over gRPC (`envoy.service.auth.v3.Authorization`).
mod allowed;
pub(crate) mod grpc;
pub mod messages;

use crate::CheckService;
use crate::body::Body;
use crate::check::{Check, Denial, identity_headers};
use allowed::write_allowed;
use bytes::Bytes;
use grpc::Failure;
use http::Response;
use http_body::Body as HttpBody;
use keybound_resource::{Authorization, CertificateError, ClientCertificate};
use messages::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpRequest, HttpResponse,
    HttpStatus, RpcStatus,
};
use prost::Message as _;

impl CheckService {
    /// Answers a call of a method by its path.
    pub(crate) async fn grpc<B>(&self, path: &str, body: B) -> Response<Body>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if path != CHECK_PATH {
            return Failure::UNIMPLEMENTED.into();
        }
        let request = match grpc::read_message(body).await {
            Ok(message) => CheckRequest::decode(message).map_err(|_| Failure::MALFORMED),
            Err(failure) => Err(failure),
        };
        match request {
            Ok(request) => self.check(&request).await,
            Err(failure) => failure.into(),
        }
    }

    /// The answer to a message.
    async fn check(&self, request: &CheckRequest) -> Response<Body> {
        let certificate = self.0.source.load().parse_value(request.certificate());
        let check = request.check(&certificate);
        match self.decide(&check).await {
            Ok(caller) => grpc::response(|message| {
                write_allowed(&identity_headers(&caller), message);
            }),
            Err(denial) => grpc::response(|message| {
                // A vector has room for any message.
                let _ = denied(&denial).encode(message);
            }),
        }
    }
}

/// The path of the method `Check`.
const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

fn denied(denial: &Denial) -> CheckResponse {
    let mut headers = vec![HeaderValueOption::overwrite(
        "x-keybound-reason",
        denial.reason().code(),
    )];
    if let Some(challenge) = &denial.challenge {
        headers.push(HeaderValueOption::overwrite(
            "www-authenticate",
            challenge.clone(),
        ));
    }
    if let Some(seconds) = denial.retry_after {
        headers.push(HeaderValueOption::overwrite(
            "retry-after",
            seconds.to_string(),
        ));
    }
    let code = match denial.status() {
        403 => PERMISSION_DENIED,
        503 => UNAVAILABLE,
        _ => UNAUTHENTICATED,
    };
    CheckResponse {
        status: Some(RpcStatus {
            code,
            message: denial.reason().description().to_owned(),
        }),
        http_response: Some(HttpResponse::Denied(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: denial.status().into(),
            }),
            headers,
            body: String::new(),
        })),
    }
}

impl CheckRequest {
    /// As the proxy encodes it. Empty if the client presented none.
    pub(crate) fn certificate(&self) -> &[u8] {
        let source = self.attributes.as_ref().and_then(|all| all.source.as_ref());
        source.map_or(&[], |source| &source.certificate)
    }

    /// What is missing is empty. No API has an empty host.
    pub(crate) fn check<'a>(
        &'a self,
        certificate: &'a Result<Option<ClientCertificate>, CertificateError>,
    ) -> Check<'a> {
        let request = self
            .attributes
            .as_ref()
            .and_then(|all| all.request.as_ref());
        let http = request.and_then(|request| request.http.as_ref());
        let authorization = http
            .into_iter()
            .flat_map(|http| http.values("authorization"));
        Check {
            host: http.map_or("", |http| text(&http.host)),
            method: http.map_or("", |http| text(&http.method)),
            path: http.map_or("", |http| text(&http.path)),
            authorization: Authorization::from_values(authorization),
            certificate,
        }
    }
}

/// Empty if it is not UTF-8.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl HttpRequest {
    /// The values of a header. They are in one of two places, which depends on the configuration of Envoy.
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let raw = self.header_map.iter().flat_map(|map| &map.headers);
        let raw = raw
            .filter(move |header| header.key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|header| match header.raw_value.is_empty() {
                true => &*header.value,
                false => &*header.raw_value,
            });
        let texts = self.headers.iter();
        let texts = texts.filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        raw.chain(texts.map(|(_, value)| value.as_bytes()))
    }
}

/// Codes of gRPC in the status of an answer, for the log of Envoy.
const PERMISSION_DENIED: i32 = 7;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;
