//! A certificate flow: loads a certificate from the store, or mints one.
use super::{ClientContext, Flow, Plan, Progress};
use crate::Binding;
use crate::cache::CachedBinding;
use crate::store::{self, BindingStore, IssuanceLock};
use keybound_core::csr::Csr;
use keybound_core::{
    Attestation, AttestationToken, BindingCacheKey, Error, ErrorKind, IssuedCredential,
    PlatformMetadata, Result, Stage,
};
use keybound_keys::BindingKey;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// Loads or mints a certificate and caches it. `None` if the current one was rejected meanwhile, so that IMDS may have
/// returned that one from its cache: the caller mints with `bypass`, past IMDS's cache.
pub(super) async fn mint(
    context: Arc<ClientContext>,
    progress: Arc<Progress>,
    plan: Arc<Plan>,
    bypass: bool,
    request_id: Uuid,
) -> Result<Option<Arc<CachedBinding>>> {
    context.settings.check_v2_enabled()?;
    let flow = Flow::new(context, progress, request_id);
    // TLS is initialized during the requests to IMDS.
    let warm = tokio::task::spawn_blocking(keybound_transport::warm_up);
    let attestation = plan.key.attestation;
    let identity = Arc::clone(&flow.context.identity);
    let before = identity.bindings.get(attestation, flow.context.now());
    let (credential, key, from_store) = flow.stored_or_issued(&plan, bypass).await?;
    // A failure recurs, with its reason, when the client is built.
    let _ = warm.await;
    let binding = Binding::new(
        credential,
        key,
        attestation,
        &flow.context.settings.shared.https,
    )?;
    let (now, chance) = (flow.context.now(), flow.context.chance());
    let binding = CachedBinding::new(Arc::new(binding), now, chance);
    let binding = Arc::new(if from_store {
        binding.with_endpoint_unproven()
    } else {
        binding
    });
    let current = identity.bindings.get(attestation, flow.context.now());
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
    /// A certificate with its key, and whether it is from the store.
    async fn stored_or_issued(
        &self,
        plan: &Plan,
        bypass: bool,
    ) -> Result<(IssuedCredential, Arc<dyn BindingKey>, bool)> {
        if let Some((credential, key)) = self.stored(plan, bypass).await {
            return Ok((credential, key, true));
        }
        let lock = self.lock_issuance(plan, bypass).await;
        // Another process may have stored one while this one waited for the lock.
        if lock.is_some()
            && let Some((credential, key)) = self.stored(plan, bypass).await
        {
            return Ok((credential, key, true));
        }
        let (credential, key) = self.issued(plan, bypass, lock).await?;
        Ok((credential, key, false))
    }

    async fn issued(
        &self,
        plan: &Plan,
        bypass: bool,
        lock: Option<IssuanceLock>,
    ) -> Result<(IssuedCredential, Arc<dyn BindingKey>)> {
        if bypass && !self.context.identity.mint_limiter.try_acquire() {
            return Err(Error::new(
                ErrorKind::ClientCertificateRejected,
                Stage::Credential,
                "new certificates were requested too often in a short time",
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
                // IMDS may have rejected the attestation token: the next attempt fetches a new one.
                if attested.is_some() && error.kind() == ErrorKind::Refused {
                    self.context.state.inner().attestations.drop_of(key.id());
                }
            })?;
        self.check_not_rejected(plan, &credential)?;
        self.save(plan, &credential, &key, lock);
        Ok((credential, key))
    }

    /// A certificate with which tokens are issued. IMDS caches certificates for longer: one that is past its
    /// `token_not_after` is replaced past the cache, once.
    async fn current_credential(
        &self,
        metadata: &PlatformMetadata,
        csr: &Csr,
        attestation: Option<&AttestationToken>,
        key: &Arc<dyn BindingKey>,
        bypass: bool,
    ) -> Result<IssuedCredential> {
        let check = |credential: IssuedCredential| {
            let now = self.context.now().wall;
            let checked = credential.certificate.check_token_not_after(now);
            checked.map(|()| credential)
        };
        let issued = self
            .credential(metadata, csr, attestation, key, bypass)
            .await?;
        match check(issued) {
            Err(error) if !bypass && self.context.identity.mint_limiter.try_acquire() => {
                tracing::info!(code = error.kind().code(), request_id = %self.request_id,
                    "IMDS returned a certificate past its token_not_after: requesting one past its cache");
                check(
                    self.credential(metadata, csr, attestation, key, true)
                        .await?,
                )
            }
            checked => checked,
        }
    }

    /// Entra would reject the same certificate again.
    fn check_not_rejected(&self, plan: &Plan, credential: &IssuedCredential) -> Result<()> {
        let bindings = &self.context.identity.bindings;
        let (attestation, now) = (plan.key.attestation, self.context.now());
        if !bindings.was_rejected_explicitly(attestation, &credential.certificate, now) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ClientCertificateRejected,
            Stage::Credential,
            "IMDS issued the rejected certificate again",
        ))
    }

    /// The key and its signing request. A key that no longer signs is reopened, once.
    async fn signed_request(
        &self,
        plan: &Plan,
        metadata: &PlatformMetadata,
    ) -> Result<(Arc<dyn BindingKey>, Csr)> {
        let key = self.open_key(plan.key.min_strength).await?;
        let csr = self.signing_request(metadata, &key).await;
        if let Err(error) = &csr
            && error.kind() == ErrorKind::KeyFailed
            && self.drop_unusable_key(&key).await
        {
            let key = self.open_key(plan.key.min_strength).await?;
            let csr = self.signing_request(metadata, &key).await?;
            return Ok((key, csr));
        }
        Ok((key, csr?))
    }

    /// The valid certificate of the key that an earlier process stored, and the key. A failure is not an error: a certificate is
    /// requested instead.
    async fn stored(
        &self,
        plan: &Plan,
        bypass: bool,
    ) -> Option<(IssuedCredential, Arc<dyn BindingKey>)> {
        let (store, store_key) = self.store(plan)?;
        let identity = &self.context.identity;
        let skips_store = bypass || identity.skips_store.load(Ordering::Relaxed);
        let current = identity
            .bindings
            .get(plan.key.attestation, self.context.now());
        if skips_store || current.is_some() {
            return None;
        }
        let key = self.open_key(plan.key.min_strength).await.ok()?;
        let name = key.persistent_name()?.to_owned();
        let calls = &self.context.state.inner().store_calls;
        let entries = calls
            .load_or_none(Arc::clone(&store), store_key.clone())
            .await;
        let settings = &self.context.settings;
        let selected = store::select(
            entries,
            &name,
            key.public_key_der(),
            settings,
            self.context.now().wall,
        );
        if !selected.orphans.is_empty() {
            calls.remove(store, store_key, selected.orphans);
        }
        tracing::debug!(
            found = selected.chosen.is_some(),
            "loaded stored certificates"
        );
        Some((selected.chosen?, key))
    }

    /// The lock of the issuance, if the store has locks. A certificate that replaces a rejected one needs none: a
    /// certificate of another process would be rejected too.
    async fn lock_issuance(&self, plan: &Plan, bypass: bool) -> Option<IssuanceLock> {
        let (store, store_key) = self.store(plan)?;
        let key = self.open_key(plan.key.min_strength).await.ok()?;
        if bypass || key.persistent_name().is_none() {
            return None;
        }
        let calls = &self.context.state.inner().store_calls;
        calls.lock_issuance(store, store_key).await
    }

    /// Saves a certificate in the background.
    fn save(
        &self,
        plan: &Plan,
        credential: &IssuedCredential,
        key: &Arc<dyn BindingKey>,
        lock: Option<IssuanceLock>,
    ) {
        if let (Some((store, store_key)), Some(name)) = (self.store(plan), key.persistent_name()) {
            let entry = store::entry(credential, name);
            let now = self.context.now().wall;
            let calls = &self.context.state.inner().store_calls;
            // An entry with which no token was issued may hold this certificate with another endpoint.
            let replaces = self.context.identity.skips_store.load(Ordering::Relaxed);
            calls.save(store, store_key, entry, now, replaces, lock);
        }
    }

    /// Removes a rejected certificate from the store in the background: it would be rejected from other processes too.
    pub(super) fn remove_stored(&self, plan: &Plan, binding: &Binding) {
        if let (Some((store, store_key)), Some(_)) =
            (self.store(plan), binding.key().persistent_name())
        {
            let calls = &self.context.state.inner().store_calls;
            let rejected = vec![binding.certificate().clone()];
            calls.remove(store, store_key, rejected);
        }
    }

    /// The store, if any, and the key of this plan's certificate in it.
    fn store(&self, plan: &Plan) -> Option<(Arc<dyn BindingStore>, BindingCacheKey)> {
        let store_key = BindingCacheKey {
            identity: self.context.settings.identity.clone(),
            attestation: plan.key.attestation,
        };
        Some((self.context.settings.store.clone()?, store_key))
    }
}
