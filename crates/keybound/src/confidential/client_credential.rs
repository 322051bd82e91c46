use super::{AssertionRequest, ClientAssertion};
use crate::ManagedIdentityClient;
use crate::acquire::ClientContext;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use keybound_core::BoxError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

/// How an app registration authenticates: where its assertions are from. Cloning is cheap.
#[derive(Clone)]
pub struct ClientCredential(pub(crate) Credential);

#[derive(Clone)]
pub(crate) enum Credential {
    ManagedIdentity(Arc<ClientContext>),
    TokenFile(PathBuf),
    Callback(Callback),
}

pub(crate) type Callback = Arc<
    dyn Fn(AssertionRequest) -> BoxFuture<'static, Result<ClientAssertion, BoxError>> + Send + Sync,
>;

impl ClientCredential {
    /// Tokens of a managed identity of this host for the exchange audience: bound ones from Entra with the identity's certificate,
    /// bearer ones from the host's source.
    pub fn managed_identity(client: &ManagedIdentityClient) -> Self {
        Self(Credential::ManagedIdentity(Arc::clone(client.context())))
    }

    /// The token in a file, such as that of a Kubernetes service account (`AZURE_FEDERATED_TOKEN_FILE` of AKS workload identity). It
    /// is read for each exchange, since Kubernetes replaces it; it is not bound to a certificate.
    pub fn token_file(path: impl Into<PathBuf>) -> Self {
        Self(Credential::TokenFile(path.into()))
    }

    /// The assertions that a function returns. It is called for each exchange: once for concurrent requests of the same token, and
    /// once more if Entra refuses its assertion ([`AssertionReason::Refused`](super::AssertionReason::Refused)).
    /// If it fails, panics or does not return within 60 seconds, the error is the source of one of kind
    /// [`AssertionUnavailable`](crate::ErrorKind::AssertionUnavailable); a [`keybound::Error`](crate::Error) is returned as it is.
    pub fn callback<F, E>(assertion: impl Fn(AssertionRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<ClientAssertion, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self(Credential::Callback(Arc::new(move |request| {
            // A panic would be one of every caller that waits, also of those for whom a token is cached.
            let called = catch_unwind(AssertUnwindSafe(|| assertion(request)));
            async move {
                let returned = match called {
                    Ok(assertion) => AssertUnwindSafe(assertion).catch_unwind().await,
                    Err(panic) => Err(panic),
                };
                match returned {
                    Ok(assertion) => assertion.map_err(Into::into),
                    Err(_) => Err(BoxError::from("it panicked")),
                }
            }
            .boxed()
        })))
    }

    /// The managed identity whose tokens are the assertions, if any.
    pub(crate) fn managed_identity_context(&self) -> Option<&Arc<ClientContext>> {
        match &self.0 {
            Credential::ManagedIdentity(context) => Some(context),
            _ => None,
        }
    }
}

/// The path of the file is shown, and no assertion.
impl fmt::Debug for ClientCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Credential::ManagedIdentity(context) => {
                write!(f, "ManagedIdentity({:?})", context.settings.identity)
            }
            Credential::TokenFile(path) => write!(f, "TokenFile({})", path.display()),
            Credential::Callback(_) => f.write_str("Callback"),
        }
    }
}
