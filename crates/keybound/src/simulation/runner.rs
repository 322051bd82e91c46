//! Lives through a case.
use super::World;
use super::case::{Acquire, Action, Case, Counts};
use super::expect::{check_counts, check_end, check_outcome};
use super::keys::{Attestor, Keys};
use super::store::MemoryStore;
use super::world::Services;
use crate::keys::ProviderChain;
use crate::{
    AccessToken, Claims, Environment, KeyRequirements, ManagedIdentity, ManagedIdentityClient,
    Result, SharedState, TokenRequest,
};
use keybound_core::lock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// A case under way.
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) keys: Arc<Keys>,
    attestor: Arc<Attestor>,
    pub(super) store: Option<Arc<MemoryStore>>,
    clients: HashMap<String, ManagedIdentityClient>,
    states: HashMap<String, SharedState>,
    asked: JoinSet<Vec<String>>,
    callers: HashMap<String, Vec<JoinHandle<Result<AccessToken>>>>,
    pub(super) wrong: Vec<String>,
}

/// Lives through a case and tells what was wrong.
pub(super) async fn run(case: &Case) -> (Arc<World>, Vec<String>) {
    let world = World::new(case.world.clone(), case.answers.clone());
    let mut run = Run::new(world);
    for (number, step) in case.steps.iter().enumerate() {
        match step.at {
            Some(at) => sleep_until(run.world.start + Duration::from_secs_f64(at)).await,
            None => run.settle().await,
        }
        run.act(&step.action, number).await;
    }
    run.settle().await;
    // What is under way in the background has a while to end.
    let elapsed = run.world.elapsed();
    tokio::time::sleep(Duration::from_secs(90)).await;
    check_end(&mut run, &case.end, elapsed);
    (run.world, run.wrong)
}

impl Run {
    pub(super) fn new(world: Arc<World>) -> Self {
        let setup = &world.setup;
        Self {
            keys: Keys::new(setup.key.into(), setup.persistent_key),
            attestor: Arc::new(Attestor(Arc::clone(&world))),
            store: setup.store.map(|manner| Arc::new(MemoryStore::new(manner))),
            clients: HashMap::new(),
            states: HashMap::new(),
            asked: JoinSet::new(),
            callers: HashMap::new(),
            wrong: Vec::new(),
            world,
        }
    }

    /// Waits for all that was asked.
    async fn settle(&mut self) {
        while let Some(wrong) = self.asked.join_next().await {
            self.wrong.extend(wrong.expect("a check panicked"));
        }
    }

    async fn act(&mut self, action: &Action, step: usize) {
        match action {
            Action::Acquire(asked) => self.acquire(asked, step),
            Action::Cancel(name) => {
                for caller in self.callers.remove(name).expect("a name in the case") {
                    caller.abort();
                }
            }
            Action::Jump(seconds) => self.world.jump(*seconds),
            Action::KillKey => self.keys.kill(),
            Action::ReplaceKey => self.keys.replace(),
            Action::Revoke(certificates) => {
                lock(&self.world.seen).revoked.extend(certificates);
            }
            Action::NewProcess => {
                self.clients.clear();
                self.states.clear();
            }
            Action::Plant(plant) => {
                // Nobody waits for the store.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let now = self.world.true_time();
                self.store.as_ref().expect("a store").plant(plant, now);
            }
            Action::RenameStoredKeys => self.store.as_ref().expect("a store").rename_keys(),
            Action::Stored(entries) => {
                // Nobody waits for the store.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let counts = Counts {
                    stored: Some(*entries),
                    ..Counts::default()
                };
                self.count(&counts, step);
            }
            Action::Counts(counts) => self.count(counts, step),
        }
    }

    fn count(&mut self, counts: &Counts, step: usize) {
        let wrong = check_counts(self, counts);
        let wrong = wrong
            .into_iter()
            .map(|wrong| format!("step {step}: {wrong}"));
        self.wrong.extend(wrong);
    }

    fn acquire(&mut self, asked: &Acquire, step: usize) {
        let client = match self.client(asked) {
            Ok(client) => client,
            Err(error) => {
                let wrong = check_outcome(&self.world, asked, None, &Err(error), 0.0);
                self.wrong.extend(wrong);
                return;
            }
        };
        for resource in 0..asked.resources.unwrap_or(1) {
            let mut asked_for = asked.resource.clone();
            if asked.resources.is_some() {
                asked_for += &resource.to_string();
            }
            for _ in 0..asked.callers {
                self.call(&client, asked, asked_for.clone(), step);
            }
        }
    }

    /// One caller.
    fn call(
        &mut self,
        client: &ManagedIdentityClient,
        asked: &Acquire,
        resource: String,
        step: usize,
    ) {
        let begun = Instant::now();
        let (client, request) = (client.clone(), request(asked, &resource));
        let work = async move { client.acquire_token(&request).await };
        if let Some(name) = &asked.name {
            let caller = tokio::spawn(work);
            self.callers.entry(name.clone()).or_default().push(caller);
            return;
        }
        let world = Arc::clone(&self.world);
        let expected = Acquire {
            expect: asked.expect.clone(),
            bearer: asked.bearer,
            ..Acquire::default()
        };
        self.asked.spawn(async move {
            let outcome = work.await;
            let after = begun.elapsed().as_secs_f64();
            let wrong = check_outcome(&world, &expected, Some(&resource), &outcome, after);
            let said = |wrong| format!("step {step}: {wrong}");
            wrong.into_iter().map(said).collect()
        });
    }

    fn client(&mut self, asked: &Acquire) -> Result<ManagedIdentityClient> {
        if let Some(state) = &asked.shared_state {
            let state = self.states.entry(state.clone()).or_default().clone();
            return self.build(asked, Some(state));
        }
        if let Some(client) = self.clients.get(&asked.client) {
            return Ok(client.clone());
        }
        let client = self.build(asked, None)?;
        self.clients.insert(asked.client.clone(), client.clone());
        Ok(client)
    }

    fn build(&self, asked: &Acquire, state: Option<SharedState>) -> Result<ManagedIdentityClient> {
        let setup = &self.world.setup;
        let capabilities = asked.capabilities.as_ref().unwrap_or(&setup.capabilities);
        let mut builder = ManagedIdentityClient::builder()
            .environment(Environment::from_lookup(|name| {
                asked.environment.get(name).cloned()
            }))
            .key_providers(ProviderChain::new(vec![Arc::clone(&self.keys) as _]))
            .clock(Arc::clone(&self.world) as _)
            .retries(setup.retries)
            .client_capabilities(capabilities)
            .simulated(Services(Arc::clone(&self.world)), 7);
        if !setup.no_attestation {
            builder = builder.attestation(Arc::clone(&self.attestor) as _);
        }
        builder = match &self.store {
            Some(store) => builder.binding_store(Arc::clone(store) as _),
            // The platform's is not of this world.
            None => builder.persistence(false),
        };
        if let Some(hosts) = &asked.allowed_hosts {
            builder = builder.allowed_hosts(hosts);
        }
        if let Ok(identity) = ManagedIdentity::client_id(&asked.client) {
            builder = builder.identity(identity);
        }
        if let Some(state) = state {
            builder = builder.state(state);
        }
        builder.build()
    }
}

fn request(asked: &Acquire, resource: &str) -> TokenRequest {
    let requirements = if asked.attested {
        KeyRequirements::attested()
    } else {
        KeyRequirements::unattested()
    };
    let requirements = requirements.min_strength(asked.floor.into());
    let request = if asked.bearer {
        TokenRequest::bearer_over_mtls(resource, requirements)
    } else {
        TokenRequest::pop(resource, requirements)
    };
    let mut request = request.force_refresh(asked.force);
    if let Some(claims) = &asked.claims {
        request = request.claims(Claims::parse(claims).expect("claims in the case"));
    }
    match asked.timeout {
        Some(timeout) => request.timeout(Duration::from_secs_f64(timeout)),
        None => request,
    }
}
