//! Entry points for fuzzers of the parsers. Not part of the API.
#![doc(hidden)]

use crate::call::Call;
use crate::config::Config;
use crate::control;
use crate::evidence;
use crate::faults::Fault;
use crate::imds::{self, csr, read_attestation, token};
use crate::peer::Peer;
use crate::pki::{read_token_not_after, read_token_not_after_value};
use crate::server;
use crate::sources::{
    SourceSecrets, app_service, arc, cloud_shell, machine_learning, service_fabric,
};
use bytes::Bytes;
use http::Request;
use std::collections::BTreeMap;

/// Checks a certificate signing request, strict and lenient.
pub fn csr(bytes: &[u8]) {
    for lenient in [false, true] {
        let expected = csr::Expected {
            client_id: "11111111-1111-4111-8111-11111111111a",
            tenant_id: "22222222-2222-4222-8222-22222222222b",
            cu_id: r#"{"vmId":"v","vmssId":"s"}"#,
            lenient,
        };
        if let Ok(checked) = csr::check(bytes, &expected) {
            assert_eq!(checked.modulus.len(), 256);
        }
    }
}

/// Reads an attestation token and the evidence of a simulated key.
pub fn attestation(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = read_attestation(text);
        let _ = evidence::read(text);
    }
}

/// Reads a configuration.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Config::from_toml(text);
    }
}

/// Parses a fault; its text form must parse to the same fault.
pub fn fault(bytes: &[u8]) {
    if let Some(fault) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<Fault>().ok())
    {
        assert_eq!(fault.to_string().parse().as_ref(), Ok(&fault));
    }
}

/// Reads the requests of a connection. Services see a path, for every form of the target.
pub fn request(bytes: &[u8]) {
    for link_local in [false, true] {
        for request in server::read_requests(bytes, link_local) {
            let uri = request.uri();
            assert!(uri.authority().is_none() && uri.path().starts_with('/'));
            let query = uri.query().unwrap_or_default();
            let _ = imds::read_query(query);
            let _ = control::leg_of(query);
        }
    }
}

/// Reads a request for a bearer token, of each source: the query in the first line, and the form after it.
pub fn source(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let body = Bytes::copy_from_slice(lines.next().unwrap_or_default());
    let identities = Config::default().identities;
    let Ok(secrets) = SourceSecrets::new() else {
        return;
    };
    for protocol in [
        token::PROTOCOL,
        app_service::V2019,
        app_service::V2017,
        service_fabric::PROTOCOL,
        arc::PROTOCOL,
        machine_learning::PROTOCOL,
        cloud_shell::PROTOCOL,
    ] {
        let request = Request::builder()
            .method(protocol.method.clone())
            .uri(format!("{}?{query}", protocol.path))
            .header("metadata", "true")
            .header("content-type", "application/x-www-form-urlencoded");
        let request = match protocol.secret {
            Some((name, secret)) => request.header(name, secret(&secrets).expose()),
            None => request,
        };
        let Ok(request) = request.body(body.clone()) else {
            continue;
        };
        let call = Call {
            request,
            peer: Peer {
                client_certificate: None,
                tls_version: None,
            },
            fault: None,
            notes: BTreeMap::new(),
        };
        if let Ok(read) = protocol.read(&identities, &call, &secrets) {
            assert!(!read.resource.is_empty() && !read.resource.ends_with("/.default"));
            assert!(read.capabilities.iter().all(|it| !it.is_empty()));
        }
    }
}

/// Reads `token_not_after` from a certificate, and from the value of the extension.
pub fn token_not_after(bytes: &[u8]) {
    let _ = read_token_not_after(bytes);
    let _ = read_token_not_after_value(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small, deterministic fuzzer: valid inputs, truncated, repeated and with changed bytes.
    #[test]
    fn parsers_accept_any_input_without_panic() {
        let seeds: [&[u8]; 8] = [
            b"token=status:429,Retry-After=1,body={\"a\":1*3}*always",
            b"tenant_id = \"x\"\n[imds]\nvm_id = \"\"\nfaults = [\"a\"]",
            b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4IiwieC1tcy1ydW50aW1lIjp7ImtleXMiOlt7fV19fQ.c2ln",
            b"POST http://imds.invalid/a?b HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.0\r\n\r\n",
            b"api-version=2018-02-01&resource=https%3A%2F%2Fa.example&client_id=x\nresource=a",
            b"\x30\x11\x18\x0f20260131120405Z",
            &[
                0x30, 0x0c, 0x30, 0x06, 0x02, 0x01, 0x00, 0x30, 0x01, 0x05, 0x30, 0x00, 0x03, 0x00,
            ],
        ];
        let mut state = 1_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        for _ in 0..4000 {
            let mut input = seeds[random() % seeds.len()].to_vec();
            for _ in 0..random() % 4 {
                let position = random() % input.len().max(1);
                match random() % 3 {
                    0 => input.truncate(position),
                    1 => input.extend_from_within(position.min(input.len())..),
                    _ => {
                        if let Some(byte) = input.get_mut(position) {
                            *byte = random() as u8;
                        }
                    }
                }
            }
            csr(&input);
            attestation(&input);
            config(&input);
            fault(&input);
            request(&input);
            source(&input);
            token_not_after(&input);
        }
    }
}
