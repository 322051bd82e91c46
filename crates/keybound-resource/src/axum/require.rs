use super::{Authenticated, ExtractError};
use crate::refusal::ChallengeParameters;
use crate::{Caller, Reason, Refusal};
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A role, as a type, for [`RequireRole`].
pub trait Role {
    /// Its value in the claim `roles`.
    const NAME: &'static str;
}

/// The caller of a request, if it has a role. A request without the role is refused with status 403.
///
/// ```
/// use keybound_resource::axum::{RequireRole, Role};
///
/// struct ReadOrders;
///
/// impl Role for ReadOrders {
///     const NAME: &'static str = "Orders.Read.All";
/// }
///
/// async fn orders(caller: RequireRole<ReadOrders>) -> String {
///     format!("orders of {}", caller.client())
/// }
/// ```
#[derive(Debug)]
pub struct RequireRole<R>(Authenticated, PhantomData<R>);

/// A scope, as a type, for [`RequireScope`].
pub trait Scope {
    /// Its value in the claim `scp`.
    const NAME: &'static str;
}

/// The caller of a request, if a user has granted a scope. A request without the scope is refused with status 403, also that of an
/// application, which has roles and no scopes. The verifier must [accept users](crate::VerifierBuilder::accept_users).
///
/// ```
/// use keybound_resource::axum::{RequireScope, Scope};
///
/// struct WriteOrders;
///
/// impl Scope for WriteOrders {
///     const NAME: &'static str = "Orders.Write";
/// }
///
/// async fn order(caller: RequireScope<WriteOrders>) -> String {
///     format!("ordered for {:?}", caller.object())
/// }
/// ```
#[derive(Debug)]
pub struct RequireScope<S>(Authenticated, PhantomData<S>);

impl<R> Deref for RequireRole<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<S> Deref for RequireScope<S> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<S: Send + Sync, R: Role> FromRequestParts<S> for RequireRole<R> {
    type Rejection = ExtractError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractError> {
        let has_role = |caller: &Caller| caller.has_role(R::NAME);
        let caller = caller_with(has_role, Reason::RoleMissing, parts, state).await?;
        Ok(Self(caller, PhantomData))
    }
}

impl<T: Send + Sync, S: Scope> FromRequestParts<T> for RequireScope<S> {
    type Rejection = ExtractError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ExtractError> {
        let has_scope = |caller: &Caller| caller.has_scope(S::NAME);
        let caller = caller_with(has_scope, Reason::ScopeMissing, parts, state).await?;
        Ok(Self(caller, PhantomData))
    }
}

/// The caller with a right. The refusal of another one has the challenge of the layer's verifier.
async fn caller_with<S: Send + Sync>(
    has_right: impl Fn(&Caller) -> bool,
    missing: Reason,
    parts: &mut Parts,
    state: &S,
) -> Result<Authenticated, ExtractError> {
    let caller = <Authenticated as FromRequestParts<S>>::from_request_parts(parts, state).await?;
    if has_right(&caller) {
        return Ok(caller);
    }
    let parameters = parts.extensions.get::<Arc<ChallengeParameters>>();
    let parameters = parameters.cloned().unwrap_or_default();
    Err(ExtractError::Refused(Refusal::new(missing, &parameters)))
}
