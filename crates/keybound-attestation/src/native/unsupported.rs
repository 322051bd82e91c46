//! Platforms other than Windows, where there are no KeyGuard keys.
use super::{Attested, NativeFailure, NativeProbe, Settings};
use keybound_core::Guid;
use keybound_keys::CngHandle;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

#[derive(Debug, Default)]
pub(super) struct LoadedLibrary(());

pub(super) async fn attest(
    _settings: &Settings,
    _loaded: &LoadedLibrary,
    _endpoint: &Url,
    _client_id: &Guid,
    _key: CngHandle,
) -> Attested {
    Err(NativeFailure::NotWindows)
}

pub(super) fn find(_settings: &Settings) -> Result<PathBuf, NativeFailure> {
    Err(NativeFailure::NotWindows)
}

pub(super) fn probe(_settings: &Settings, _limit: Duration) -> NativeProbe {
    NativeProbe {
        failure: Some(NativeFailure::NotWindows.into()),
        ..NativeProbe::default()
    }
}
