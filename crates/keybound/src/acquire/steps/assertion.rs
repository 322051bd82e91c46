use crate::acquire::app_flow::{CheckedAssertion, requirements};
use crate::acquire::{Flow, Plan};
use crate::confidential::{
    App, AssertionReason, AssertionRequest, Callback, ClientAssertion, read_token_file,
};
use crate::step::Step;
use futures_util::TryFutureExt as _;
use keybound_core::{
    Attestation, BoxError, Error, ErrorKind, MAX_JWT, Result, Stage, UnverifiedJwt, check_binding,
};
use keybound_keys::KeyError;
use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::timeout;

impl Flow {
    /// The assertion in a file.
    pub(in crate::acquire) async fn assertion_of_file(
        &self,
        path: &Path,
        plan: &Plan,
    ) -> Result<CheckedAssertion> {
        let read = async {
            if plan.key.over_mtls {
                return Err(not_bound(
                    "the assertion in a file is not bound to a certificate",
                ));
            }
            let assertion = read_token_file(path.to_owned());
            let assertion = within_limit("the file with the assertion", assertion).await?;
            self.check_assertion(ClientAssertion::bearer(assertion), plan)
        };
        self.step(Step::Assertion, read).await
    }

    /// The assertion that the caller's function returns.
    pub(in crate::acquire) async fn assertion_of_caller(
        &self,
        callback: &Callback,
        app: &App,
        plan: &Plan,
        refusal: Option<&Error>,
    ) -> Result<CheckedAssertion> {
        let called = async {
            let request = AssertionRequest {
                tenant_id: app.key.tenant_id.clone(),
                client_id: app.key.client_id.clone(),
                token_endpoint: app.token_url(plan.key.over_mtls)?.into(),
                audience: app.key.authority.exchange_audience().to_owned(),
                requirements: requirements(&plan.key),
                reason: self.reason(plan, refusal),
                claims: plan.claims.as_deref().map(str::to_owned),
            };
            let assertion = callback(request).map_err(of_caller);
            let assertion =
                within_limit("the function that returns the assertion", assertion).await?;
            let https = &self.context.settings.shared.https;
            let assertion = assertion.over(|binding| app.own_binding(binding, https))?;
            let checked = self.check_assertion(assertion, plan)?;
            check_requirements(&checked, plan)?;
            Ok(checked)
        };
        self.step(Step::Assertion, called).await
    }

    /// Why the plan needs an assertion.
    fn reason(&self, plan: &Plan, refusal: Option<&Error>) -> AssertionReason {
        match refusal {
            Some(refusal) => AssertionReason::Refused(refusal.clone()),
            None if plan.challenged && self.allows_challenged_first_leg() => {
                AssertionReason::Challenge
            }
            None if plan.forced => AssertionReason::Forced,
            None => match self.context.identity.tokens.get(&plan.key) {
                Some(_) => AssertionReason::Refresh,
                None => AssertionReason::First,
            },
        }
    }

    /// Checks an assertion before it is sent: that it is one, that it has not expired, and that it is bound to its certificate
    /// exactly if the plan requires that.
    pub(in crate::acquire) fn check_assertion(
        &self,
        assertion: ClientAssertion,
        plan: &Plan,
    ) -> Result<CheckedAssertion> {
        let text = assertion.secret.expose();
        check_text(text)?;
        let now = self.context.now();
        let binding = assertion.cached_binding(now, self.context.chance());
        let jwt = match (&binding, plan.key.over_mtls) {
            (Some(binding), true) => {
                let certificate = binding.binding.certificate();
                let checked = check_binding(&assertion.secret, certificate);
                let jwt = checked.map_err(|error| {
                    invalid("the assertion is not bound to its certificate").with_source(error)
                })?;
                if binding.has_expired(now) {
                    return Err(invalid("the certificate of the assertion has expired"));
                }
                Some(jwt)
            }
            (None, true) => {
                return Err(not_bound("the assertion is not bound to a certificate"));
            }
            (Some(_), false) => {
                return Err(invalid(
                    "the assertion is bound to a certificate, and is not for a request without mutual TLS",
                ));
            }
            // It may be opaque.
            (None, false) => UnverifiedJwt::parse(text),
        };
        let expires = jwt.as_ref().and_then(|jwt| jwt.expires().transpose());
        let expires = expires.transpose().map_err(|error| {
            invalid("the expiry of the assertion cannot be read").with_source(error)
        })?;
        let now = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        // The client of a managed identity has compared it with the service's clock.
        let is_of_client = self.context.certificates().is_some();
        if !is_of_client && expires.is_some_and(|expires| expires <= now) {
            return Err(invalid("the assertion has expired"));
        }
        Ok(CheckedAssertion { assertion, binding })
    }
}

fn check_text(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(invalid("the assertion is empty"));
    }
    if text.len() > MAX_JWT {
        return Err(invalid(format!(
            "the assertion is longer than {MAX_JWT} bytes"
        )));
    }
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(invalid(
            "the assertion contains white space, or characters that are not printable ASCII",
        )),
    }
}

/// Checks the key of a certificate that the caller chose.
fn check_requirements(checked: &CheckedAssertion, plan: &Plan) -> Result<()> {
    let Some(binding) = &checked.binding else {
        return Ok(());
    };
    let binding = &binding.binding;
    let (strength, minimum) = (binding.key_strength(), plan.key.min_strength);
    if strength < minimum {
        return Err(KeyError::too_weak(strength, minimum).into());
    }
    let requires_attestation = plan.key.attestation != Attestation::None;
    if requires_attestation && binding.attestation() == Attestation::None {
        return Err(invalid(
            "the key of the assertion's certificate is not attested",
        ));
    }
    Ok(())
}

/// The result of work that other callers of the token wait for too: it ends even if it hangs.
async fn within_limit<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(MAX_WAIT, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(
            ErrorKind::AssertionUnavailable,
            Stage::Assertion,
            format!(
                "{what} did not return within {} seconds",
                MAX_WAIT.as_secs()
            ),
        )),
    }
}

/// The error of the caller's function; one of this crate, such as of the client that acquires the assertion, as it is.
fn of_caller(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(
            ErrorKind::AssertionUnavailable,
            Stage::Assertion,
            "the function that returns the assertion failed",
        )
        .with_source(error),
    }
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::AssertionInvalid, Stage::Assertion, message)
}

fn not_bound(message: &'static str) -> Error {
    invalid(message).with_next_step(
        "nothing was sent: use a managed identity, or a function that returns the assertion and its certificate; or request a bearer \
         token explicitly if that is acceptable to you",
    )
}

/// The default timeout of a request.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_wrong_with_a_text() {
        assert!(check_text("a.b.c").is_ok() && check_text(&"x".repeat(MAX_JWT)).is_ok());
        for (text, rule) in [
            ("", "empty"),
            (&*"x".repeat(MAX_JWT + 1), "longer than 262144 bytes"),
            ("two tokens", "white space"),
            ("tok\u{e9}n", "printable ASCII"),
        ] {
            let error = check_text(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AssertionInvalid);
            assert!(error.to_string().contains(rule), "{error}");
        }
    }
}
