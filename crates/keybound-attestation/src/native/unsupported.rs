//! Platforms other than Windows, where there are no KeyGuard keys.
use super::{Attested, NativeFailure, NativeProbe, Settings};
use crate::AttestationRequest;
use keybound_keys::CngHandle;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct LoadedLibrary(());

pub(super) async fn attest(
    _settings: &Settings,
    _loaded: &LoadedLibrary,
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
