//! The listeners for operators: health, readiness, metrics, and the reload of the configuration.
mod reload_access;

use crate::body::Body;
use crate::daemon::Reloader;
use crate::server::{Limit, Surplus};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
pub(crate) use reload_access::ReloadAccess;
use std::sync::Arc;
use tokio::time::Instant;

/// Answers a request.
pub(crate) async fn answer(
    reloader: Arc<Reloader>,
    access: ReloadAccess,
    request: Request<Incoming>,
) -> Response<Body> {
    // A response to HEAD is that of GET, of which the server sends no body.
    let method = match *request.method() {
        Method::HEAD => &Method::GET,
        _ => request.method(),
    };
    let (status, body) = match (method, request.uri().path()) {
        (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET, "/readyz") => match reloader.is_ready() {
            true => (
                StatusCode::OK,
                "ready\n".to_owned() + &reloader.missing_keys(),
            ),
            false => {
                let body = "not ready\n".to_owned() + &reloader.missing_keys();
                (StatusCode::SERVICE_UNAVAILABLE, body)
            }
        },
        (&Method::GET, "/metrics") => (StatusCode::OK, reloader.metrics()),
        (&Method::POST, "/reload") => match access.check(request.headers(), request.extensions()) {
            Ok(()) => return reload(&reloader).await,
            Err(why) => (StatusCode::FORBIDDEN, format!("{why}\n")),
        },
        (_, "/healthz" | "/readyz" | "/metrics" | "/reload") => {
            (StatusCode::METHOD_NOT_ALLOWED, String::new())
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    text(status, body)
}

/// Each fetches keys and empties the caches: requests for it are limited.
async fn reload(reloader: &Reloader) -> Response<Body> {
    let _permit = match reloader.limit.begin(Instant::now()) {
        Ok(permit) => permit,
        Err(wait) => {
            let body = format!("a reload was requested just before: retry in {wait} s\n");
            let mut response = text(StatusCode::TOO_MANY_REQUESTS, body);
            response.headers_mut().insert(RETRY_AFTER, wait.into());
            return response;
        }
    };
    match reloader.reload().await {
        Ok(()) => text(StatusCode::OK, "reloaded\n".to_owned()),
        Err(error) => text(StatusCode::CONFLICT, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

/// That of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Operators' tools have few, and connect again: one that keeps all of them open cannot keep others away.
pub(crate) const LIMIT: Limit = Limit {
    connections: 64,
    surplus: Surplus::Idle,
};
