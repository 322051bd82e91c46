//! The sources of bearer tokens, without sockets: cases as data.
mod arc;
mod faults;
mod imds;
mod rejections;
mod tokens;

use crate::config::{Config, Identity, IdentityType, OsType};
use crate::reply::Reply;
use crate::service::Service;
use crate::state::State;
use crate::testing::{JsonResponse, handle, send, state};
use bytes::Bytes;
use http::Request;
use keybound_core::UnverifiedJwt;
use serde_json::{Value, json};
use std::sync::Arc;

const SYSTEM: &str = "5a5a5a5a-0000-4000-8000-000000000001";
const USER: &str = "5a5a5a5a-0000-4000-8000-000000000002";
const USER_OBJECT: &str = "5a5a5a5a-0000-4000-8000-0000000000f2";
const USER_RESOURCE: &str = "%2FSUBSCRIPTIONS%2F5a5a5a5a-0000-4000-8000-0000000000aa%2FresourceGroups%2Fkeybound%2Fproviders%2FMicrosoft.ManagedIdentity%2FuserAssignedIdentities%2Fdemo";
const VAULT: &str = "https%3A%2F%2Fvault.azure.net%2F";

/// One request; a part that begins with `+` is added to the query or the form of a valid one, `-name` removes a parameter or a
/// header, `name: value` sets a header, `& name: value` adds one, `METHOD /path` replaces both.
struct Template {
    service: Service,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    parameters: Vec<String>,
}

impl Template {
    /// A valid request to a source, for the system-assigned identity.
    fn valid(state: &State, source: &str) -> Self {
        let secrets = &state.source_secrets;
        let (service, path, headers, parameters) = match source {
            "imds" => (
                Service::Imds,
                "/metadata/identity/oauth2/token",
                vec![("metadata", "true")],
                vec!["api-version=2018-02-01"],
            ),
            "app-service" => (
                Service::AppService,
                "/msi/token",
                vec![("x-identity-header", secrets.app_service.expose())],
                vec!["api-version=2019-08-01"],
            ),
            "app-service-2017" => (
                Service::AppService,
                "/msi/token",
                vec![("secret", secrets.app_service.expose())],
                vec!["api-version=2017-09-01"],
            ),
            "service-fabric" => (
                Service::ServiceFabric,
                "/metadata/identity/oauth2/token",
                vec![("secret", secrets.service_fabric.expose())],
                vec!["api-version=2020-05-01"],
            ),
            "machine-learning" => (
                Service::MachineLearning,
                "/MSI/auth",
                vec![("secret", secrets.machine_learning.expose())],
                vec![
                    "api-version=2017-09-01",
                    "clientid=5a5a5a5a-0000-4000-8000-000000000001",
                ],
            ),
            "cloud-shell" => (
                Service::CloudShell,
                "/oauth2/token",
                vec![
                    ("metadata", "true"),
                    ("content-type", "application/x-www-form-urlencoded"),
                ],
                vec![],
            ),
            other => panic!("no such source: {other}"),
        };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            service,
            method: if source == "cloud-shell" {
                "POST"
            } else {
                "GET"
            }
            .to_owned(),
            path: path.to_owned(),
            headers: headers.into_iter().map(owned).collect(),
            parameters: [parameters, vec![&format!("resource={VAULT}")]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        }
    }

    fn changed(mut self, changes: &[&str]) -> Self {
        for change in changes {
            if let Some(parameter) = change.strip_prefix('+') {
                self.parameters.push(parameter.to_owned());
            } else if let Some(name) = change.strip_prefix('-') {
                let prefix = format!("{name}=");
                self.parameters.retain(|it| !it.starts_with(&prefix));
                self.headers.retain(|(it, _)| it != name);
            } else if let Some((name, value)) = change
                .strip_prefix("& ")
                .and_then(|header| header.split_once(": "))
            {
                self.headers.push((name.to_owned(), value.to_owned()));
            } else if let Some((name, value)) = change.split_once(": ") {
                self.headers.retain(|(it, _)| it != name);
                self.headers.push((name.to_owned(), value.to_owned()));
            } else {
                let (method, path) = change.split_once(' ').unwrap();
                self.method = method.to_owned();
                self.path = path.to_owned();
            }
        }
        self
    }

    fn request(&self) -> Request<Bytes> {
        let parameters = self.parameters.join("&");
        let is_form = self.service == Service::CloudShell;
        let (target, body) = match is_form {
            true => (self.path.clone(), parameters),
            false => (format!("{}?{parameters}", self.path), String::new()),
        };
        let mut request = Request::builder().method(&*self.method).uri(target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(body.into()).unwrap()
    }
}

/// Sends a valid request to a source with changes.
async fn ask(state: &Arc<State>, source: &str, changes: &[&str]) -> JsonResponse {
    let template = Template::valid(state, source).changed(changes);
    send(state, template.service, template.request()).await
}

const SOURCES: [&str; 6] = [
    "imds",
    "app-service",
    "app-service-2017",
    "service-fabric",
    "machine-learning",
    "cloud-shell",
];

fn token(response: &JsonResponse) -> UnverifiedJwt {
    UnverifiedJwt::parse(response.text("access_token")).unwrap()
}
