//! Platforms without KeyGuard keys.
use super::{Attested, NativeFailure, NativeProbe, Settings};
use crate::AttestationRequest;
use keybound_keys::CngHandle;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Loaded(());

pub(super) fn not_attestable() -> NativeFailure {
    NativeFailure::NotWindows
}

pub(super) async fn attest(
    _settings: &Settings,
    _loaded: &Loaded,
    _request: &AttestationRequest<'_>,
    _key: CngHandle,
) -> Attested {
    Err(NativeFailure::NotWindows)
}

pub(super) fn probe(_settings: &Settings, _limit: Duration) -> NativeProbe {
    NativeProbe {
        failure: Some(NativeFailure::NotWindows.into()),
        ..NativeProbe::default()
    }
}
