//! Windows' judgement of a server's certificates.
#![allow(unsafe_code, reason = "calls Windows")]
use crate::engine::names::names;
use crate::engine::queued::refused;
use ::schannel::RawPointer as _;
use ::schannel::cert_chain::CertChain;
use keybound_core::tls::Host;
use std::ffi::c_void;
use std::io;
use windows::Win32::Security::Cryptography::{
    AUTHTYPE_SERVER, CERT_CHAIN_CACHE_END_CERT, CERT_CHAIN_CONTEXT, CERT_CHAIN_PARA,
    CERT_CHAIN_POLICY_PARA, CERT_CHAIN_POLICY_SSL, CERT_CHAIN_POLICY_STATUS,
    CERT_CHAIN_REVOCATION_CHECK_CACHE_ONLY, CERT_CHAIN_REVOCATION_CHECK_CHAIN_EXCLUDE_ROOT,
    CERT_CONTEXT, CERT_OPEN_STORE_FLAGS, CERT_QUERY_ENCODING_TYPE, CERT_STORE_ADD_ALWAYS,
    CERT_STORE_PROV_MEMORY, CERT_TRUST_IS_NOT_SIGNATURE_VALID, CERT_TRUST_IS_NOT_TIME_VALID,
    CERT_TRUST_IS_NOT_VALID_FOR_USAGE, CERT_TRUST_IS_OFFLINE_REVOCATION,
    CERT_TRUST_IS_PARTIAL_CHAIN, CERT_TRUST_IS_REVOKED, CERT_TRUST_IS_UNTRUSTED_ROOT,
    CERT_TRUST_REVOCATION_STATUS_UNKNOWN, CTL_USAGE, CertAddEncodedCertificateToStore,
    CertCloseStore, CertFreeCertificateChain, CertGetCertificateChain, CertOpenStore,
    CertVerifyCertificateChainPolicy, HCERTSTORE, HTTPSPolicyCallbackData, USAGE_MATCH_TYPE_OR,
    X509_ASN_ENCODING, szOID_PKIX_KP_SERVER_AUTH,
};
use windows::core::{PSTR, PWSTR};

/// Whether Windows takes these certificates, the first of them the server's own, for this host's, and the host is among its
/// subject alternative names: Windows takes the common name where there are none. One that is known to be
/// revoked is refused; that nothing is known of it is no fault, and nothing is fetched to learn of it.
///
/// # Errors
/// The status that Windows gives (`CERT_E_…`, `CRYPT_E_…`, `TRUST_E_…`).
pub(crate) fn judge(shown: &CertChain, host: &Host) -> io::Result<()> {
    let own = shown.get(0).ok_or_else(|| refused("no certificate"))?;
    if !names(own.to_der(), host) {
        return Err(io::Error::from_raw_os_error(NO_SUCH_NAME.cast_signed()));
    }
    let others = Store::of(shown)?;
    // SAFETY: it is a certificate context, which is not freed before `own` is dropped.
    let own = unsafe { own.as_ptr() }.cast::<CERT_CONTEXT>().cast_const();
    let chain = Chain::build(own, &others)?;
    chain.check_for(host)?;
    chain.check_flawless()
}

/// A store in memory.
struct Store(HCERTSTORE);

impl Store {
    fn of(certificates: &CertChain) -> io::Result<Self> {
        // SAFETY: a store in memory takes no argument.
        let store = unsafe {
            CertOpenStore(
                CERT_STORE_PROV_MEMORY,
                CERT_QUERY_ENCODING_TYPE::default(),
                None,
                CERT_OPEN_STORE_FLAGS::default(),
                None,
            )
        };
        let store = Self(store.map_err(status)?);
        for certificate in certificates.certificates() {
            // SAFETY: the store is open, the bytes are whole and copied.
            unsafe {
                CertAddEncodedCertificateToStore(
                    Some(store.0),
                    X509_ASN_ENCODING,
                    certificate.to_der(),
                    CERT_STORE_ADD_ALWAYS,
                    None,
                )
            }
            .map_err(status)?;
        }
        Ok(store)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody has it any more.
        let _ = unsafe { CertCloseStore(Some(self.0), 0) };
    }
}

/// A chain to a root as Windows has built it.
struct Chain(*mut CERT_CHAIN_CONTEXT);

impl Chain {
    fn build(own: *const CERT_CONTEXT, others: &Store) -> io::Result<Self> {
        let mut usage = [PSTR(szOID_PKIX_KP_SERVER_AUTH.0.cast_mut())];
        let mut wanted = CERT_CHAIN_PARA {
            cbSize: size_of::<CERT_CHAIN_PARA>() as u32,
            ..CERT_CHAIN_PARA::default()
        };
        wanted.RequestedUsage.dwType = USAGE_MATCH_TYPE_OR;
        wanted.RequestedUsage.Usage = CTL_USAGE {
            cUsageIdentifier: 1,
            rgpszUsageIdentifier: usage.as_mut_ptr(),
        };
        let flags = CERT_CHAIN_CACHE_END_CERT
            | CERT_CHAIN_REVOCATION_CHECK_CACHE_ONLY
            | CERT_CHAIN_REVOCATION_CHECK_CHAIN_EXCLUDE_ROOT;
        let mut chain = std::ptr::null_mut();
        // SAFETY: context and store are alive; what is wanted points to `usage`, and that to a constant, which is only read;
        // the chain is written.
        unsafe {
            CertGetCertificateChain(
                None,
                own,
                None,
                Some(others.0),
                &raw const wanted,
                flags,
                None,
                &raw mut chain,
            )
        }
        .map_err(status)?;
        if chain.is_null() {
            return Err(refused("no chain"));
        }
        Ok(Self(chain))
    }

    /// Takes no chain with a flaw that the rules for servers pass over, but for what is not known of revocation.
    fn check_flawless(&self) -> io::Result<()> {
        // SAFETY: it is a chain, which is not freed before `self` is dropped.
        let flaws = unsafe { (*self.0).TrustStatus.dwErrorStatus };
        let counting =
            flaws & !(CERT_TRUST_REVOCATION_STATUS_UNKNOWN | CERT_TRUST_IS_OFFLINE_REVOCATION);
        if counting == 0 {
            return Ok(());
        }
        let known = FLAWS.iter().find(|(flaw, _)| counting & flaw != 0);
        let status = known.map_or(OTHER_FLAW, |(_, status)| *status);
        Err(io::Error::from_raw_os_error(status.cast_signed()))
    }

    /// Applies the rules for servers of TLS, revocation left out.
    fn check_for(&self, host: &Host) -> io::Result<()> {
        let name = match host {
            Host::Name(name) => name.to_string(),
            Host::Ip(ip) => ip.to_string(),
        };
        let mut name: Vec<u16> = name.encode_utf16().chain([0]).collect();
        let mut server = HTTPSPolicyCallbackData {
            dwAuthType: AUTHTYPE_SERVER,
            fdwChecks: IGNORE_REVOCATION,
            pwszServerName: PWSTR(name.as_mut_ptr()),
            ..HTTPSPolicyCallbackData::default()
        };
        server.Anonymous.cbSize = size_of::<HTTPSPolicyCallbackData>() as u32;
        let rules = CERT_CHAIN_POLICY_PARA {
            cbSize: size_of::<CERT_CHAIN_POLICY_PARA>() as u32,
            pvExtraPolicyPara: (&raw mut server).cast::<c_void>(),
            ..CERT_CHAIN_POLICY_PARA::default()
        };
        let mut verdict = CERT_CHAIN_POLICY_STATUS {
            cbSize: size_of::<CERT_CHAIN_POLICY_STATUS>() as u32,
            // Not what stays where nothing is written.
            dwError: u32::MAX,
            ..CERT_CHAIN_POLICY_STATUS::default()
        };
        // SAFETY: the chain is alive; the rules are those that this policy takes, and what they point to outlives the call;
        // the verdict is written.
        let could_judge = unsafe {
            CertVerifyCertificateChainPolicy(
                CERT_CHAIN_POLICY_SSL,
                self.0,
                &raw const rules,
                &raw mut verdict,
            )
        };
        if !could_judge.as_bool() {
            return Err(io::Error::last_os_error());
        }
        match verdict.dwError {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: it is a chain, freed once.
        unsafe { CertFreeCertificateChain(self.0) };
    }
}

fn status(error: windows::core::Error) -> io::Error {
    io::Error::from_raw_os_error(error.code().0)
}

/// Flaws of a chain and the statuses that the rules for servers would give them: `CRYPT_E_REVOKED`,
/// `TRUST_E_CERT_SIGNATURE`, `CERT_E_EXPIRED`, `CERT_E_UNTRUSTEDROOT`, `CERT_E_CHAINING`, `CERT_E_WRONG_USAGE`.
const FLAWS: [(u32, u32); 6] = [
    (CERT_TRUST_IS_REVOKED, 0x8009_2010),
    (CERT_TRUST_IS_NOT_SIGNATURE_VALID, 0x8009_6004),
    (CERT_TRUST_IS_NOT_TIME_VALID, 0x800B_0101),
    (CERT_TRUST_IS_UNTRUSTED_ROOT, 0x800B_0109),
    (CERT_TRUST_IS_PARTIAL_CHAIN, 0x800B_010A),
    (CERT_TRUST_IS_NOT_VALID_FOR_USAGE, 0x800B_0110),
];
/// `CERT_E_CN_NO_MATCH`.
const NO_SUCH_NAME: u32 = 0x800B_010F;
/// `TRUST_E_FAIL`.
const OTHER_FLAW: u32 = 0x800B_010B;
/// `SECURITY_FLAG_IGNORE_REVOCATION` of WinINet: what is known of it was looked at before.
const IGNORE_REVOCATION: u32 = 0x80;
