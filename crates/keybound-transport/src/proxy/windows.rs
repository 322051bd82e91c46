//! The proxy settings of Windows, read through winhttp.dll.
use super::settings::{Settings, SettingsSource, SkippedSetting, text};
use windows::Win32::Foundation::{ERROR_FILE_NOT_FOUND, HGLOBAL};
use windows::Win32::Networking::WinHttp::{
    WINHTTP_ACCESS_TYPE_NAMED_PROXY, WINHTTP_CURRENT_USER_IE_PROXY_CONFIG, WINHTTP_PROXY_INFO,
    WinHttpGetDefaultProxyConfiguration, WinHttpGetIEProxyConfigForCurrentUser,
};
use windows::core::{Owned, PWSTR};

/// Reads the current settings.
pub(super) fn read(source: SettingsSource) -> Result<Settings, SkippedSetting> {
    match source {
        SettingsSource::User => read_user(),
        SettingsSource::Machine => read_machine(),
    }
}

/// <https://learn.microsoft.com/windows/win32/api/winhttp/nf-winhttp-winhttpgetieproxyconfigforcurrentuser>
fn read_user() -> Result<Settings, SkippedSetting> {
    let mut config = WINHTTP_CURRENT_USER_IE_PROXY_CONFIG::default();
    // SAFETY: the structure is initialized and exclusively borrowed during the call.
    match unsafe { WinHttpGetIEProxyConfigForCurrentUser(&raw mut config) } {
        Ok(()) => {}
        // Some service accounts have no settings.
        Err(error) if error.code() == ERROR_FILE_NOT_FOUND.to_hresult() => {
            return Ok(Settings::default());
        }
        Err(error) => return Err(SkippedSetting::Unreadable(error.into())),
    }
    // SAFETY: the call succeeded, so each is null or a text that the caller owns; each is taken once.
    let [script, proxies, bypass] = unsafe {
        [
            WindowsText::take(config.lpszAutoConfigUrl),
            WindowsText::take(config.lpszProxy),
            WindowsText::take(config.lpszProxyBypass),
        ]
    };
    Ok(Settings {
        proxies: proxies.as_ref().map(WindowsText::read).transpose()?,
        bypass: bypass.as_ref().map(WindowsText::read).transpose()?,
        has_script: script.is_some_and(|script| !script.units().is_empty()),
        has_detection: config.fAutoDetect.as_bool(),
    })
}

/// <https://learn.microsoft.com/windows/win32/api/winhttp/nf-winhttp-winhttpgetdefaultproxyconfiguration>
fn read_machine() -> Result<Settings, SkippedSetting> {
    let mut info = WINHTTP_PROXY_INFO::default();
    // SAFETY: the structure is initialized and exclusively borrowed during the call.
    unsafe { WinHttpGetDefaultProxyConfiguration(&raw mut info) }
        .map_err(|error| SkippedSetting::Unreadable(error.into()))?;
    // SAFETY: the call succeeded, so each is null or a text that the caller owns; each is taken once.
    let [proxies, bypass] = unsafe {
        [
            WindowsText::take(info.lpszProxy),
            WindowsText::take(info.lpszProxyBypass),
        ]
    };
    if info.dwAccessType != WINHTTP_ACCESS_TYPE_NAMED_PROXY {
        return Ok(Settings::default());
    }
    Ok(Settings {
        proxies: proxies.as_ref().map(WindowsText::read).transpose()?,
        bypass: bypass.as_ref().map(WindowsText::read).transpose()?,
        ..Settings::default()
    })
}

/// A text that Windows allocated, freed (`GlobalFree`) on drop.
struct WindowsText {
    text: PWSTR,
    _memory: Owned<HGLOBAL>,
}

impl WindowsText {
    /// Takes ownership; `None` for a null pointer.
    ///
    /// # Safety
    /// The pointer is null, or points to UTF-16 units that end with a zero, in fixed memory from `GlobalAlloc` that nothing
    /// else writes or frees from now on.
    unsafe fn take(text: PWSTR) -> Option<Self> {
        if text.is_null() {
            return None;
        }
        // SAFETY: the caller passes ownership of the memory; the handle of fixed memory is its address.
        let memory = unsafe { Owned::new(HGLOBAL(text.0.cast())) };
        Some(Self {
            text,
            _memory: memory,
        })
    }

    fn units(&self) -> &[u16] {
        // SAFETY: the units end with a zero; nothing writes them, and they are freed with `self`, which is borrowed.
        unsafe { self.text.as_wide() }
    }

    fn read(&self) -> Result<String, SkippedSetting> {
        text(self.units())
    }
}
