use crate::clock::Clock;
use crate::config::Config;
use crate::control_secret::ControlSecret;
use crate::endpoints::Endpoints;
use crate::entra::BoundTokenVerifiers;
use crate::entra::signing_keys::SigningKeys;
use crate::evidence::UsedNonces;
use crate::faults::FaultPlan;
use crate::issued_certificates::IssuedCertificates;
use crate::pki::Pki;
use crate::records::Records;
use crate::secrets::Secrets;
use crate::signing_key::SigningKey;
use crate::sources::SourceSecrets;
use crate::sources::arc::KeyFiles;
use crate::start_error::StartError;
use openssl::error::ErrorStack;
use std::sync::LazyLock;

/// The shared state of the services of an emulator.
pub(crate) struct State {
    pub config: Config,
    pub clock: Clock,
    pub faults: FaultPlan,
    pub records: Records,
    pub pki: Pki,
    pub endpoints: Endpoints,
    pub keys: Keys,
    /// Verify bound tokens for the resources.
    pub bound_tokens: BoundTokenVerifiers,
    /// The secrets of the vault.
    pub secrets: Secrets,
    pub control_secret: ControlSecret,
    pub source_secrets: SourceSecrets,
    /// The key files of Azure Arc.
    pub arc_key_files: KeyFiles,
    /// The certificates that IMDS issued.
    pub issued: IssuedCertificates,
    /// The nonces that the attestation service accepted.
    pub used_nonces: UsedNonces,
}

impl State {
    /// The state of an emulator after the start.
    ///
    /// # Errors
    /// If the host returns no random bytes, or Azure Arc's key files cannot be written to their directory.
    pub fn new(config: Config, pki: Pki, endpoints: Endpoints) -> Result<Self, StartError> {
        let no_random = |error: ErrorStack| StartError::Certificates(error.into());
        let clock = Clock::with_offset(config.clock_offset_seconds);
        Ok(Self {
            secrets: Secrets::new(&config.vault.secrets, clock.unix()),
            clock,
            faults: FaultPlan::new(config.faults.clone()),
            records: Records::default(),
            pki,
            endpoints,
            keys: Keys::of_process(),
            bound_tokens: BoundTokenVerifiers::default(),
            control_secret: ControlSecret::random().map_err(no_random)?,
            source_secrets: SourceSecrets::new().map_err(no_random)?,
            arc_key_files: KeyFiles::new(&config.arc)
                .map_err(|error| StartError::arc_tokens(&config.arc, error))?,
            issued: IssuedCertificates::default(),
            used_nonces: UsedNonces::default(),
            config,
        })
    }

    /// Resets to the state after the start, without the faults of the configuration. Keys, authorities and the secrets of the
    /// vault do not change.
    pub fn reset(&self) {
        self.faults.clear();
        self.records.clear();
        self.issued.clear();
        self.arc_key_files.clear();
        self.clock.reset();
    }
}

/// The keys that sign tokens. They are generated in the background and awaited at first use.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// Sign the tokens of Entra.
    pub entra: SigningKeys,
    /// The key of one tenant only, which signs by a fault.
    pub tenant: SigningKey,
    /// Signs attestation tokens.
    pub maa: SigningKey,
    /// An unknown key, for faults.
    pub foreign: SigningKey,
}

impl Keys {
    /// Those of this process: emulators start with the same ones, since generating a key takes a tenth of a second and more. Keys that
    /// an emulator generates later, for its rotations, are its own.
    pub fn of_process() -> Self {
        static KEYS: LazyLock<Keys> = LazyLock::new(Keys::default);
        KEYS.clone()
    }

    /// Generates the keys that every flow needs. Errors are returned to the callers that use a key.
    pub async fn create(&self) {
        let _ = self.maa.get().await;
        let _ = self.entra.signing().get().await;
    }
}
