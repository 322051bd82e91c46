//! Envoy's external authorization over gRPC (`envoy.service.auth.v3.Authorization`).
pub mod messages;

use crate::CheckService;
use crate::check::{Check, Denial, IDENTITY_HEADERS, identity_headers};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use keybound_resource::{Authorization, Caller};
use messages::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpRequest, HttpResponse,
    HttpStatus, OkHttpResponse, RpcStatus,
};
use std::future::Future;
use std::pin::Pin;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

impl CheckService {
    /// Answers a call of the method `Check`.
    pub(crate) async fn grpc<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
        let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE);
        grpc.unary(Method(self.clone()), request).await
    }

    /// The answer to a message.
    pub(crate) async fn check(&self, request: CheckRequest) -> CheckResponse {
        let attributes = request.attributes.unwrap_or_default();
        let http = attributes.request.unwrap_or_default().http;
        let http = http.unwrap_or_default();
        let certificate = attributes.source.unwrap_or_default().certificate;
        let certificate = self.0.source.parse_value(certificate.as_bytes());
        let check = Check {
            host: &http.host,
            method: &http.method,
            path: &http.path,
            authorization: Authorization::from_values(http.values("authorization")),
            certificate: &certificate,
        };
        match self.decide(&check).await {
            Ok(caller) => allowed(&caller),
            Err(denial) => denied(&denial),
        }
    }
}

/// The path of the method `Check`.
pub(crate) const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A call of a method that does not exist here.
pub(crate) fn unimplemented() -> Response<Body> {
    Status::new(
        Code::Unimplemented,
        "only ext_authz of Envoy is answered here",
    )
    .into_http()
}

struct Method(CheckService);

impl UnaryService<CheckRequest> for Method {
    type Response = CheckResponse;
    type Future =
        Pin<Box<dyn Future<Output = Result<tonic::Response<CheckResponse>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let response = service.check(request.into_inner()).await;
            Ok(tonic::Response::new(response))
        })
    }
}

/// Headers that are empty here are removed, as are those of the token.
fn allowed(caller: &Caller) -> CheckResponse {
    let mut ok = OkHttpResponse::default();
    ok.headers_to_remove.push("authorization".to_owned());
    for (name, value) in IDENTITY_HEADERS.into_iter().zip(identity_headers(caller)) {
        match value.is_empty() {
            true => ok.headers_to_remove.push(name.to_owned()),
            false => ok.headers.push(HeaderValueOption::overwrite(name, value)),
        }
    }
    CheckResponse {
        status: Some(RpcStatus::default()),
        http_response: Some(HttpResponse::Ok(ok)),
    }
}

fn denied(denial: &Denial) -> CheckResponse {
    let mut headers = vec![HeaderValueOption::overwrite(
        "x-keybound-reason",
        denial.reason().code().to_owned(),
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
        403 => Code::PermissionDenied,
        503 => Code::Unavailable,
        _ => Code::Unauthenticated,
    };
    CheckResponse {
        status: Some(RpcStatus {
            code: code.into(),
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

impl HttpRequest {
    /// The values of a header. They are in one of two places, which depends on the configuration of Envoy.
    pub(crate) fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let raw = self.header_map.iter().flat_map(|map| &map.headers);
        let raw = raw
            .filter(move |header| header.key.eq_ignore_ascii_case(name))
            .map(|header| match header.raw_value.is_empty() {
                true => header.value.as_bytes(),
                false => &header.raw_value,
            });
        let texts = self.headers.iter();
        let texts = texts.filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        raw.chain(texts.map(|(_, value)| value.as_bytes()))
    }
}

/// In bytes: a token, a certificate and what surrounds them.
const MAX_MESSAGE: usize = 128 * 1024;
