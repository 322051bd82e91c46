//! A certificate flow: loads a certificate from the store, or mints one.
use super::{ClientContext, Flow, Plan, Progress};
use crate::Binding;
use crate::cache::CachedBinding;
use crate::store::{self, IssuanceLock};
use keybound_core::csr::Csr;
use keybound_core::{
    Attestation, AttestationToken, BindingCacheKey, Error, ErrorKind, IssuedCredential,
    PlatformMetadata, Result, Stage,
};
use keybound_keys::BindingKey;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// Loads or mints a certificate and caches it. `None` where the current one was rejected meanwhile, so that the certificate in
/// IMDS's cache may be that one: the caller mints past the cache.
pub(super) async fn mint(
    shared: Arc<ClientContext>,
    progress: Arc<Progress>,
    plan: Arc<Plan>,
    bypass: bool,
    request_id: Uuid,
) -> Result<Option<Arc<CachedBinding>>> {
    shared.settings.check_v2_enabled()?;
    let flow = Flow::new(shared, progress, request_id);
    // What TLS needs is read while IMDS is asked.
    let warm = tokio::task::spawn_blocking(keybound_transport::warm_up);
    let attestation = plan.key.attestation;
    let identity = Arc::clone(&flow.shared.identity);
    let before = identity.bindings.get(attestation, flow.shared.now());
    let mut from_store = true;
    let (credential, key) = match flow.stored(&plan, bypass).await {
        Some(stored) => stored,
        None => {
            let lock = flow.lock_issuance(&plan, bypass).await;
            let kept_meanwhile = match lock {
                Some(_) => flow.stored(&plan, bypass).await,
                None => None,
            };
            match kept_meanwhile {
                Some(stored) => stored,
                None => {
                    from_store = false;
                    flow.issued(&plan, bypass, lock).await?
                }
            }
        }
    };
    // Where it failed, making the client says why.
    let _ = warm.await;
    let binding = Binding::new(credential, key, attestation, &flow.shared.settings)?;
    let (got, chance) = (flow.shared.now(), flow.shared.chance());
    let binding = CachedBinding::new(Arc::new(binding), got, chance);
    let binding = Arc::new(if from_store {
        binding.with_endpoint_unproven()
    } else {
        binding
    });
    let current = identity.bindings.get(attestation, flow.shared.now());
    match &current {
        // IMDS returned the same certificate: its tokens stay in the cache.
        Some(current) if current.is(&binding) => return Ok(Some(Arc::clone(current))),
        // One that was minted past IMDS's cache meanwhile is newer.
        Some(current) if !bypass && before.is_none_or(|before| !before.is(current)) => {
            return Ok(Some(Arc::clone(current)));
        }
        None if !bypass && identity.bindings.was_rejected(attestation) => return Ok(None),
        _ => {}
    }
    identity.put_binding(attestation, &binding);
    Ok(Some(binding))
}

impl Flow {
    async fn issued(
        &self,
        plan: &Plan,
        bypass: bool,
        lock: Option<IssuanceLock>,
    ) -> Result<(IssuedCredential, Arc<dyn BindingKey>)> {
        if bypass && !self.shared.identity.mint_limiter.try_acquire() {
            return Err(Error::new(
                ErrorKind::ClientCertificateRejected,
                Stage::Credential,
                "new certificates were asked for too often in a short time",
            )
            .with_retryable(true));
        }
        let metadata = self.metadata().await?;
        let (key, csr) = self.signed_request(plan, &metadata).await?;
        let attested = match plan.key.attestation {
            Attestation::None => None,
            _ => Some(self.attest(&metadata, &key).await?),
        };
        let credential = self
            .current_credential(&metadata, &csr, attested.as_ref(), &key, bypass)
            .await
            .inspect_err(|error| {
                // It may be the attestation that IMDS finds wrong: the next attempt has one made.
                if attested.is_some() && error.kind() == ErrorKind::Refused {
                    self.shared.state.inner().attestations.drop_of(key.id());
                }
            })?;
        self.check_not_refused(plan, &credential)?;
        self.keep(plan, &credential, &key, lock);
        Ok((credential, key))
    }

    /// A credential that gets tokens. IMDS caches certificates for longer than that: one that is past its `token_not_after` is
    /// replaced past the cache, once.
    async fn current_credential(
        &self,
        metadata: &PlatformMetadata,
        csr: &Csr,
        attestation: Option<&AttestationToken>,
        key: &Arc<dyn BindingKey>,
        bypass: bool,
    ) -> Result<IssuedCredential> {
        let check = |credential: IssuedCredential| {
            let now = self.shared.now().wall;
            let checked = credential.certificate.check_token_not_after(now);
            checked.map(|()| credential)
        };
        let issued = self
            .credential(metadata, csr, attestation, key, bypass)
            .await?;
        match check(issued) {
            Err(error) if !bypass && self.shared.identity.mint_limiter.try_acquire() => {
                tracing::info!(code = error.kind().code(), request_id = %self.request_id,
                    "IMDS answered a certificate past its token_not_after: asking past its cache");
                check(
                    self.credential(metadata, csr, attestation, key, true)
                        .await?,
                )
            }
            checked => checked,
        }
    }

    /// Asking Entra again with the certificate that it refused would change nothing.
    fn check_not_refused(&self, plan: &Plan, credential: &IssuedCredential) -> Result<()> {
        let bindings = &self.shared.identity.bindings;
        let (attestation, now) = (plan.key.attestation, self.shared.now());
        if !bindings.was_rejected_explicitly(attestation, &credential.certificate, now) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ClientCertificateRejected,
            Stage::Credential,
            "IMDS issued the certificate again that was refused, and no other",
        ))
    }

    /// The key and its signing request. A key that no longer signs is reopened, once.
    async fn signed_request(
        &self,
        plan: &Plan,
        metadata: &PlatformMetadata,
    ) -> Result<(Arc<dyn BindingKey>, Csr)> {
        let key = self.open_key(plan.key.min_strength).await?;
        match self.signing_request(metadata, &key).await {
            Ok(csr) => Ok((key, csr)),
            Err(error) if error.kind() == ErrorKind::KeyFailed => {
                if !self.drop_dead_key(&key).await {
                    return Err(error);
                }
                let key = self.open_key(plan.key.min_strength).await?;
                let csr = self.signing_request(metadata, &key).await?;
                Ok((key, csr))
            }
            Err(error) => Err(error),
        }
    }

    /// A certificate that outlived an earlier process, where it and its key are whole. Whatever fails here is no failure
    /// of the acquisition.
    async fn stored(
        &self,
        plan: &Plan,
        bypass: bool,
    ) -> Option<(IssuedCredential, Arc<dyn BindingKey>)> {
        let store = self.shared.settings.store.clone()?;
        let identity = &self.shared.identity;
        let skips_store = bypass || identity.skips_store.load(Ordering::Relaxed);
        let current = identity
            .bindings
            .get(plan.key.attestation, self.shared.now());
        if skips_store || current.is_some() {
            return None;
        }
        let key = self.open_key(plan.key.min_strength).await.ok()?;
        let name = key.persistent_name()?.to_owned();
        let calls = &self.shared.state.inner().store_calls;
        let entries = calls.load(Arc::clone(&store), self.store_key(plan)).await;
        let settings = &self.shared.settings;
        let restored = store::select(
            entries,
            &name,
            key.public_key_der(),
            settings,
            self.shared.now().wall,
        );
        if !restored.orphans.is_empty() {
            calls.remove(store, self.store_key(plan), restored.orphans);
        }
        tracing::debug!(
            found = restored.chosen.is_some(),
            "looked for a kept certificate"
        );
        Some((restored.chosen?, key))
    }

    /// The lock of the issuance, where the store has locks. A certificate that replaces a rejected one needs none: a
    /// certificate of another process would be rejected too.
    async fn lock_issuance(&self, plan: &Plan, bypass: bool) -> Option<IssuanceLock> {
        let store = self.shared.settings.store.clone()?;
        let key = self.open_key(plan.key.min_strength).await.ok()?;
        if bypass || key.persistent_name().is_none() {
            return None;
        }
        let calls = &self.shared.state.inner().store_calls;
        calls.lock_issuance(store, self.store_key(plan)).await
    }

    /// Has the store keep a certificate, meanwhile.
    fn keep(
        &self,
        plan: &Plan,
        credential: &IssuedCredential,
        key: &Arc<dyn BindingKey>,
        lock: Option<IssuanceLock>,
    ) {
        if let (Some(store), Some(name)) = (&self.shared.settings.store, key.persistent_name()) {
            let entry = store::entry(credential, name);
            let now = self.shared.now().wall;
            let calls = &self.shared.state.inner().store_calls;
            // An entry that got no token may hold this certificate with another endpoint.
            let replaces = self.shared.identity.skips_store.load(Ordering::Relaxed);
            let (store, store_key) = (Arc::clone(store), self.store_key(plan));
            calls.save(store, store_key, entry, now, replaces, lock);
        }
    }

    /// Has the store drop a refused certificate, meanwhile: later processes, and other programs, would be refused with it.
    pub(super) fn drop_stored(&self, plan: &Plan, binding: &Binding) {
        if let (Some(store), Some(_)) =
            (&self.shared.settings.store, binding.key().persistent_name())
        {
            let calls = &self.shared.state.inner().store_calls;
            let refused = vec![binding.certificate().clone()];
            calls.remove(Arc::clone(store), self.store_key(plan), refused);
        }
    }

    fn store_key(&self, plan: &Plan) -> BindingCacheKey {
        BindingCacheKey {
            identity: self.shared.settings.identity.clone(),
            attestation: plan.key.attestation,
        }
    }
}
