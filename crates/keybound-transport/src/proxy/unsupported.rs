//! Platforms without proxy settings: only the environment names proxies.
use super::settings::{Settings, SettingsSource, SkippedSetting};

pub(super) fn read(_: SettingsSource) -> Result<Settings, SkippedSetting> {
    Ok(Settings::default())
}
