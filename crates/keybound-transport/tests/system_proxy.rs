//! The proxy settings of Windows. The process replaces its registry by an empty one, so that no other settings are read or changed.
#![cfg(all(test, windows))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use keybound_testing::http1::read_request;
use keybound_testing::server::{Server, tcp_server};
use keybound_transport::{
    HttpsClient, HttpsSettings, ProxyConfig, RequestBody, TransportError, TransportErrorKind,
};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use windows::Win32::Networking::WinHttp::{
    WINHTTP_ACCESS_TYPE_NAMED_PROXY, WINHTTP_ACCESS_TYPE_NO_PROXY, WINHTTP_PROXY_INFO,
    WinHttpSetDefaultProxyConfiguration,
};
use windows::Win32::System::Registry::{
    HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, REG_BINARY, RegCloseKey, RegCreateKeyW,
    RegDeleteTreeW, RegOverridePredefKey, RegSetValueExW,
};
use windows::core::{HSTRING, PCWSTR, PWSTR};

// The only test of this process: it replaces the registry for all threads.
#[tokio::test]
async fn uses_the_proxy_settings_of_windows() {
    let proxy = proxy().await;
    let here = proxy.address.to_string();
    // OpenSSL finds no entropy without the machine's registry; the settings are read later.
    let [unset, machine, user, other_user] = std::array::from_fn(|_| Client::new());
    let unfollowed: [_; 4] = std::array::from_fn(|_| Client::new());
    let registry = OwnRegistry::new();

    let error = unset.failure(UNREACHABLE).await;
    assert_eq!(error.kind(), TransportErrorKind::Connect);

    registry.set_machine(&here, "0.0.*");
    machine.assert_uses_proxy(REMOTE, &proxy).await;
    machine.assert_direct().await;

    // The user's settings precede: these leave https without a proxy.
    registry.set_user(NAMED, "http=127.0.0.1:1", "", "");
    other_user.assert_direct().await;

    let list = format!("http=127.0.0.1:1;https={here}");
    registry.set_user(NAMED, &list, "*.fabrikam.com;0.0.0.0:1;<local>", "");
    user.assert_uses_proxy(REMOTE, &proxy).await;
    user.assert_uses_proxy("https://0.0.0.0:2/", &proxy).await;
    user.assert_direct().await;

    // Settings that were read before remain in use.
    registry.set_machine("", "");
    registry.set_user(0, "", "", "");
    machine.assert_uses_proxy(REMOTE, &proxy).await;
    user.assert_uses_proxy(REMOTE, &proxy).await;

    let long = "x;".repeat(40_000);
    let cases = [
        (SCRIPT, "", "", "settings name a script"),
        (DETECTION, "", "", "settings ask for automatic detection"),
        (NAMED, "socks=127.0.0.1:1", "", "socks is not supported"),
        (NAMED, &here, &long, "settings are longer than allowed"),
    ];
    for ((flags, proxies, bypass, reason), client) in cases.into_iter().zip(&unfollowed) {
        registry.set_user(flags, proxies, bypass, "http://swordfish/");
        let message = client.failure(UNREACHABLE).await.to_string();
        assert!(
            message.starts_with("0.0.0.0:1 was tried without"),
            "{message}"
        );
        assert!(message.contains(reason), "{message}");
        assert!(!format!("{message}{:?}", client.0).contains("swordfish"));
    }
}

/// A client with the system's proxy. None of its requests succeeds, so that it reuses no connection.
struct Client(HttpsClient);

impl Client {
    fn new() -> Self {
        let settings = HttpsSettings {
            proxy: ProxyConfig::system(),
            ..HttpsSettings::default()
        };
        Self(HttpsClient::new(None, settings).unwrap())
    }

    async fn failure(&self, uri: &str) -> TransportError {
        let request = http::Request::get(uri).body(RequestBody::empty()).unwrap();
        self.0.send(request, TEST_TIMEOUT).await.unwrap_err()
    }

    async fn assert_direct(&self) {
        let message = self.failure(UNREACHABLE).await.to_string();
        assert_eq!(message, "no connection to 0.0.0.0:1");
    }

    async fn assert_uses_proxy(&self, uri: &str, proxy: &Server) {
        let error = self.failure(uri).await;
        assert_eq!(error.kind(), TransportErrorKind::Proxy, "{error:?}");
        let uri: http::Uri = uri.parse().unwrap();
        let (host, port) = (uri.host().unwrap(), uri.port_u16().unwrap_or(443));
        let requests = std::mem::take(&mut *proxy.requests.lock().unwrap());
        let targets: Vec<_> = requests
            .iter()
            .map(|request| (request.method(), request.path()))
            .collect();
        assert_eq!(targets, [("CONNECT", &*format!("{host}:{port}"))]);
    }
}

/// A proxy that rejects all requests.
async fn proxy() -> Server {
    tcp_server(|mut stream, _, log| async move {
        let request = read_request(&mut stream).await.unwrap();
        log.lock().unwrap().push(request);
        let rejection = b"HTTP/1.1 403 Forbidden\r\n\r\n";
        stream.write_all(rejection).await.unwrap();
    })
    .await
}

/// An empty registry instead of the user's and the machine's, for this process, until it is dropped.
struct OwnRegistry {
    root: Key,
    path: HSTRING,
}

impl OwnRegistry {
    fn new() -> Self {
        let path = HSTRING::from(format!(r"Software\keybound-test-{}", std::process::id()));
        let root = Key::create(HKEY_CURRENT_USER, &path);
        for replaced in [HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE] {
            // SAFETY: the key is open until the registry is restored.
            unsafe { RegOverridePredefKey(replaced, Some(root.0)) }
                .ok()
                .unwrap();
        }
        Self { root, path }
    }

    /// Sets the machine's proxy like `netsh winhttp set proxy`; an empty text means none.
    fn set_machine(&self, proxies: &str, bypass: &str) {
        let [proxies, bypass] = [proxies, bypass].map(HSTRING::from);
        let mut info = if proxies.is_empty() {
            WINHTTP_PROXY_INFO {
                dwAccessType: WINHTTP_ACCESS_TYPE_NO_PROXY,
                ..WINHTTP_PROXY_INFO::default()
            }
        } else {
            WINHTTP_PROXY_INFO {
                dwAccessType: WINHTTP_ACCESS_TYPE_NAMED_PROXY,
                lpszProxy: PWSTR(proxies.as_ptr().cast_mut()),
                lpszProxyBypass: PWSTR(bypass.as_ptr().cast_mut()),
            }
        };
        // SAFETY: the texts end with a zero and outlive the call, which does not write to them.
        unsafe { WinHttpSetDefaultProxyConfiguration(&raw mut info) }.unwrap();
    }

    /// Sets the user's proxy like the settings page.
    fn set_user(&self, flags: u32, proxies: &str, bypass: &str, script: &str) {
        let mut value = vec![];
        for number in [VERSION, 1, flags] {
            value.extend(number.to_le_bytes());
        }
        for text in [proxies, bypass, script] {
            value.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            value.extend(text.as_bytes());
        }
        value.extend([0; 32]);
        let key = Key::create(self.root.0, &HSTRING::from(CONNECTIONS));
        let name = HSTRING::from("DefaultConnectionSettings");
        // SAFETY: the key is open, and name and value outlive the call.
        unsafe { RegSetValueExW(key.0, &name, None, REG_BINARY, Some(&value)) }
            .ok()
            .unwrap();
    }
}

impl Drop for OwnRegistry {
    fn drop(&mut self) {
        for replaced in [HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE] {
            // SAFETY: restores the key.
            let _ = unsafe { RegOverridePredefKey(replaced, None) };
        }
        // SAFETY: the path ends with a zero. The key is deleted when the last handle to it is closed.
        let _ = unsafe { RegDeleteTreeW(HKEY_CURRENT_USER, PCWSTR(self.path.as_ptr())) };
    }
}

struct Key(HKEY);

impl Key {
    fn create(below: HKEY, path: &HSTRING) -> Self {
        let mut key = HKEY::default();
        // SAFETY: the path ends with a zero; the handle is written before the call returns.
        unsafe { RegCreateKeyW(below, path, &raw mut key) }
            .ok()
            .unwrap();
        Self(key)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing else uses it.
        let _ = unsafe { RegCloseKey(self.0) };
    }
}

const CONNECTIONS: &str =
    r"Software\Microsoft\Windows\CurrentVersion\Internet Settings\Connections";
const VERSION: u32 = 0x46;
const NAMED: u32 = 2;
const SCRIPT: u32 = 4;
const DETECTION: u32 = 8;

const REMOTE: &str = "https://a.contoso.com/";
const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Not a loopback address; connections to it are refused.
const UNREACHABLE: &str = "https://0.0.0.0:1/";
