//! Runs a case.
use super::TestHost;
use super::case::{Acquire, Action, AppCredential, Case, Identity};
use super::expect::{Members, check_capabilities, check_end, check_outcome, counts, differences};
use super::keys::{Attestor, TestKeyProvider};
use super::sources::HostKind;
use super::store::MemoryStore;
use crate::confidential::TokenClient;
use crate::{
    AccessToken, Claims, ConfidentialClient, Environment, KeyRequirements, ManagedIdentity,
    ManagedIdentityClient, Result, SharedState, TokenRequest,
};
use keybound_core::{KeyStrength, lock};
use keybound_keys::ProviderChain;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// A case that is being run.
pub(super) struct Run {
    pub(super) host: Arc<TestHost>,
    pub(super) keys: Arc<TestKeyProvider>,
    pub(super) software_keys: Arc<TestKeyProvider>,
    attestor: Arc<Attestor>,
    pub(super) store: Option<Arc<MemoryStore>>,
    clients: HashMap<String, ManagedIdentityClient>,
    apps: HashMap<(String, AppCredential), ConfidentialClient>,
    states: HashMap<String, SharedState>,
    acquisitions: JoinSet<Vec<String>>,
    callers: HashMap<String, Vec<JoinHandle<Result<AccessToken>>>>,
    pub(super) problems: Vec<String>,
}

/// Runs a case and returns its problems.
pub(super) async fn run(case: &Case) -> (Arc<TestHost>, Vec<String>) {
    let host = TestHost::new(case.setup.clone(), case.responses.clone());
    let mut run = Run::new(host);
    for (number, step) in case.steps.iter().enumerate() {
        match step.at {
            Some(at) => sleep_until(run.host.start + Duration::from_secs_f64(at)).await,
            None => run.settle().await,
        }
        run.act(&step.action, number).await;
    }
    run.settle().await;
    // Background refreshes have time to finish.
    let elapsed = run.host.elapsed();
    tokio::time::sleep(Duration::from_secs(90)).await;
    run.problems.extend(check_end(&run, &case.end, elapsed));
    (run.host, run.problems)
}

impl Run {
    pub(super) fn new(host: Arc<TestHost>) -> Self {
        let setup = &host.setup;
        Self {
            keys: TestKeyProvider::new(setup.key, setup.persistent_key),
            software_keys: TestKeyProvider::new(KeyStrength::Software, false),
            attestor: Arc::new(Attestor(Arc::clone(&host))),
            store: setup
                .store
                .map(|behavior| Arc::new(MemoryStore::new(behavior))),
            clients: HashMap::new(),
            apps: HashMap::new(),
            states: HashMap::new(),
            acquisitions: JoinSet::new(),
            callers: HashMap::new(),
            problems: Vec::new(),
            host,
        }
    }

    /// Waits for all acquisitions.
    async fn settle(&mut self) {
        while let Some(problems) = self.acquisitions.join_next().await {
            self.problems.extend(problems.expect("a check panicked"));
        }
    }

    async fn act(&mut self, action: &Action, step: usize) {
        match action {
            Action::Acquire(acquire) => self.acquire(acquire, step),
            Action::Capabilities(ask) => self.ask_for_capabilities(ask, step),
            Action::Cancel(name) => {
                for caller in self
                    .callers
                    .remove(name)
                    .expect("the case has an acquisition of this name")
                {
                    caller.abort();
                }
            }
            Action::Jump(seconds) => self.host.jump(*seconds),
            Action::WriteAssertion(written) => self.host.write_assertion(written),
            Action::KillKey => self.keys.kill(),
            Action::ReplaceKey => self.keys.replace(),
            Action::Revoke(certificates) => {
                lock(&self.host.history).revoked.extend(certificates);
            }
            Action::NewProcess => {
                self.clients.clear();
                self.apps.clear();
                self.states.clear();
            }
            Action::Plant(plant) => {
                // Stores are written in the background.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let now = self.host.true_time();
                self.store.as_ref().expect("a store").plant(plant, now);
            }
            Action::RenameStoredKeys => self.store.as_ref().expect("a store").rename_keys(),
            Action::Stored(entries) => {
                // Stores are written in the background.
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.count(
                    &Members::from_iter([("stored".to_owned(), (*entries).into())]),
                    step,
                );
            }
            Action::Counts(expected) => self.count(expected, step),
        }
    }

    fn count(&mut self, expected: &Members, step: usize) {
        let problems = differences(expected, &counts(self));
        self.problems.extend(located(problems, step));
    }

    fn ask_for_capabilities(&mut self, ask: &Acquire, step: usize) {
        let client = self.client(ask).expect("a client");
        let timeout = ask.timeout.map(Duration::from_secs_f64);
        for _ in 0..ask.callers {
            let (client, expected, start) = (client.clone(), ask.expect.clone(), Instant::now());
            self.acquisitions.spawn(async move {
                let found = match timeout {
                    Some(timeout) => client.capabilities_within(timeout).await,
                    None => client.capabilities().await,
                };
                let after = start.elapsed().as_secs_f64();
                located(check_capabilities(&expected, &found, after), step).collect()
            });
        }
    }

    fn acquire(&mut self, acquire: &Acquire, step: usize) {
        let client = match self.token_client(acquire) {
            Ok(client) => client,
            Err(error) => {
                let problems =
                    check_outcome(&self.host, "", false, &acquire.expect, &Err(error), 0.0);
                self.problems.extend(located(problems, step));
                return;
            }
        };
        for resource in 0..acquire.resources.unwrap_or(1) {
            let mut name = acquire.resource.clone();
            if acquire.resources.is_some() {
                name += &resource.to_string();
            }
            for _ in 0..acquire.callers {
                self.call(&client, acquire, name.clone(), step);
            }
        }
    }

    /// Starts one caller.
    fn call(&mut self, client: &TokenClient, acquire: &Acquire, resource: String, step: usize) {
        let start = Instant::now();
        let (client, request) = (client.clone(), request(acquire, &resource));
        let work = async move { client.0.acquire_token(&request).await };
        if let Some(name) = &acquire.name {
            let caller = tokio::spawn(work);
            self.callers.entry(name.clone()).or_default().push(caller);
            return;
        }
        let host = Arc::clone(&self.host);
        let expected = acquire.expect.clone();
        let is_bound = !acquire.bearer && !acquire.bearer_over_mtls;
        self.acquisitions.spawn(async move {
            let outcome = work.await;
            let after = start.elapsed().as_secs_f64();
            let problems = check_outcome(&host, &resource, is_bound, &expected, &outcome, after);
            located(problems, step).collect()
        });
    }

    /// The client of the managed identity, or of the app registration.
    fn token_client(&mut self, acquire: &Acquire) -> Result<TokenClient> {
        let identity = self.client(acquire)?;
        let Some(credential) = acquire.app else {
            return Ok(TokenClient::from(&identity));
        };
        let key = (acquire.client.clone(), credential);
        if acquire.shared_state.is_none()
            && let Some(client) = self.apps.get(&key)
        {
            return Ok(TokenClient::from(client));
        }
        let other = Acquire {
            client: OTHER_IDENTITY.to_owned(),
            ..Acquire::default()
        };
        let other = self.client(&other)?;
        let client = self
            .host
            .app_client(acquire, credential, &identity, &other)?;
        self.apps.insert(key, client.clone());
        Ok(TokenClient::from(&client))
    }

    fn client(&mut self, acquire: &Acquire) -> Result<ManagedIdentityClient> {
        if let Some(state) = &acquire.shared_state {
            let state = self.states.entry(state.clone()).or_default().clone();
            return self.build(acquire, Some(state));
        }
        if let Some(client) = self.clients.get(&acquire.client) {
            return Ok(client.clone());
        }
        let client = self.build(acquire, None)?;
        self.clients.insert(acquire.client.clone(), client.clone());
        Ok(client)
    }

    fn build(
        &self,
        acquire: &Acquire,
        state: Option<SharedState>,
    ) -> Result<ManagedIdentityClient> {
        let setup = &self.host.setup;
        let capabilities = acquire.capabilities.as_ref().unwrap_or(&setup.capabilities);
        let mut builder = self
            .host
            .client_builder(Arc::clone(&self.keys) as _, 7)
            .environment(Environment::from_lookup(|name| {
                let own = acquire.environment.get(name).cloned();
                let mut of_host = setup.host.variables().iter();
                own.or_else(|| {
                    let (_, value) = of_host.find(|(variable, _)| *variable == name)?;
                    Some((*value).to_owned())
                })
            }))
            .retries(setup.retries)
            .client_capabilities(capabilities);
        if setup.software_key {
            let providers = [&self.keys, &self.software_keys].map(|keys| Arc::clone(keys) as _);
            builder = builder.key_providers(ProviderChain::new(providers.to_vec()));
        }
        if !setup.no_attestation {
            builder = builder.attestation(Arc::clone(&self.attestor) as _);
        }
        if let Some(store) = &self.store {
            builder = builder
                .persistence(true)
                .binding_store(Arc::clone(store) as _);
        }
        if let Some(hosts) = &acquire.allowed_hosts {
            builder = builder.allowed_hosts(hosts);
        }
        if let Some(identity) = identity(acquire) {
            builder = builder.identity(identity);
        }
        if setup.host == HostKind::AzureArc {
            builder = builder.arc_tokens(self.host.arc_tokens().to_str().unwrap().to_owned());
        }
        if let Some(state) = state {
            builder = builder.state(state);
        }
        builder.build()
    }
}

fn located(problems: Vec<String>, step: usize) -> impl Iterator<Item = String> {
    let problems = problems.into_iter();
    problems.map(move |problem| format!("step {step}: {problem}"))
}

fn identity(acquire: &Acquire) -> Option<ManagedIdentity> {
    match &acquire.identity {
        Some(Identity::ObjectId(id)) => ManagedIdentity::object_id(id).ok(),
        Some(Identity::ResourceId(id)) => ManagedIdentity::resource_id(id).ok(),
        None => ManagedIdentity::client_id(&acquire.client).ok(),
    }
}

fn request(acquire: &Acquire, resource: &str) -> TokenRequest {
    let requirements = if acquire.attested {
        KeyRequirements::attested()
    } else {
        KeyRequirements::unattested()
    };
    let requirements = requirements.min_strength(acquire.min_strength);
    let request = if acquire.bearer {
        TokenRequest::bearer(resource)
    } else if acquire.bearer_over_mtls {
        TokenRequest::bearer_over_mtls(resource, requirements)
    } else {
        TokenRequest::pop(resource, requirements)
    };
    let mut request = request.force_refresh(acquire.force);
    if let Some(claims) = &acquire.claims {
        request = request.claims(Claims::parse(claims).expect("claims in the case"));
    }
    match acquire.timeout {
        Some(timeout) => request.timeout(Duration::from_secs_f64(timeout)),
        None => request,
    }
}

/// The client id of an identity that is not that of the federated credential.
const OTHER_IDENTITY: &str = "cccccccc-2222-4333-8444-555555555555";
