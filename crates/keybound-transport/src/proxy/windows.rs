//! The settings that Windows keeps, by winhttp.dll. All `unsafe` code of proxies is here.
use super::settings::{Place, Settings, Unfollowed, text};
use windows::Win32::Foundation::{ERROR_FILE_NOT_FOUND, HGLOBAL};
use windows::Win32::Networking::WinHttp::{
    WINHTTP_ACCESS_TYPE_NAMED_PROXY, WINHTTP_CURRENT_USER_IE_PROXY_CONFIG, WINHTTP_PROXY_INFO,
    WinHttpGetDefaultProxyConfiguration, WinHttpGetIEProxyConfigForCurrentUser,
};
use windows::core::{Owned, PWSTR};

/// Reads the settings as they are now: some values of the registry.
pub(super) fn read(place: Place) -> Result<Settings, Unfollowed> {
    match place {
        Place::User => of_user(),
        Place::Machine => of_machine(),
    }
}

/// <https://learn.microsoft.com/windows/win32/api/winhttp/nf-winhttp-winhttpgetieproxyconfigforcurrentuser>
fn of_user() -> Result<Settings, Unfollowed> {
    let mut config = WINHTTP_CURRENT_USER_IE_PROXY_CONFIG::default();
    // SAFETY: the structure is whole, and nobody else has it during the call.
    match unsafe { WinHttpGetIEProxyConfigForCurrentUser(&raw mut config) } {
        Ok(()) => {}
        // Some accounts of services have none.
        Err(error) if error.code() == ERROR_FILE_NOT_FOUND.to_hresult() => {
            return Ok(Settings::default());
        }
        Err(error) => return Err(Unfollowed::Unreadable(error.into())),
    }
    // SAFETY: the call succeeded, so these are null or texts that are ours; each is taken once.
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
        names_script: script.is_some_and(|script| !script.units().is_empty()),
        asks_for_detection: config.fAutoDetect.as_bool(),
    })
}

/// <https://learn.microsoft.com/windows/win32/api/winhttp/nf-winhttp-winhttpgetdefaultproxyconfiguration>
fn of_machine() -> Result<Settings, Unfollowed> {
    let mut info = WINHTTP_PROXY_INFO::default();
    // SAFETY: the structure is whole, and nobody else has it during the call.
    unsafe { WinHttpGetDefaultProxyConfiguration(&raw mut info) }
        .map_err(|error| Unfollowed::Unreadable(error.into()))?;
    // SAFETY: the call succeeded, so these are null or texts that are ours; each is taken once.
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

/// A text that Windows allocated; it is freed (`GlobalFree`) when this is dropped.
struct WindowsText {
    text: PWSTR,
    _memory: Owned<HGLOBAL>,
}

impl WindowsText {
    /// `None` where the pointer is null.
    ///
    /// # Safety
    /// The pointer is null, or it is to UTF-16 units that end with a zero, allocated with `GlobalAlloc` as fixed memory,
    /// and nobody else writes or frees them from now on.
    unsafe fn take(text: PWSTR) -> Option<Self> {
        if text.is_null() {
            return None;
        }
        // SAFETY: the memory is the caller's to give away; the handle of fixed memory is its address.
        let memory = unsafe { Owned::new(HGLOBAL(text.0.cast())) };
        Some(Self {
            text,
            _memory: memory,
        })
    }

    fn units(&self) -> &[u16] {
        // SAFETY: the units end with a zero; nobody writes them, and they are freed with `self`, which is borrowed.
        unsafe { self.text.as_wide() }
    }

    fn read(&self) -> Result<String, Unfollowed> {
        text(self.units())
    }
}
