//! The verification of a server's certificates by Windows.
#![allow(unsafe_code, reason = "calls Windows")]
use crate::engine::buffered::rejected;
use crate::engine::subject_alt_name::is_valid_for;
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

/// Verifies the certificates that a server presented, the first being its own, for the host. The host must be among the subject
/// alternative names: Windows accepts the common name if there are none. A certificate that is known to be revoked is
/// rejected; an unknown revocation status is accepted, and nothing is fetched to determine it.
///
/// # Errors
/// The status of Windows (`CERT_E_…`, `CRYPT_E_…`, `TRUST_E_…`).
pub(crate) fn verify(presented: &CertChain, host: &Host) -> io::Result<()> {
    let leaf = presented.get(0).ok_or_else(|| rejected("no certificate"))?;
    if !is_valid_for(leaf.to_der(), host) {
        return Err(io::Error::from_raw_os_error(NAME_MISMATCH.cast_signed()));
    }
    let others = Store::of(presented)?;
    // SAFETY: the pointer is a certificate context, which is not freed before `leaf` is dropped.
    let leaf = unsafe { leaf.as_ptr() }.cast::<CERT_CONTEXT>().cast_const();
    let chain = Chain::build(leaf, &others)?;
    chain.check_server_policy(host)?;
    chain.check_status()
}

/// A certificate store in memory.
struct Store(HCERTSTORE);

impl Store {
    fn of(certificates: &CertChain) -> io::Result<Self> {
        // SAFETY: a store in memory requires no argument.
        let store = unsafe {
            CertOpenStore(
                CERT_STORE_PROV_MEMORY,
                CERT_QUERY_ENCODING_TYPE::default(),
                None,
                CERT_OPEN_STORE_FLAGS::default(),
                None,
            )
        };
        let store = Self(store.map_err(io_error)?);
        for certificate in certificates.certificates() {
            // SAFETY: the store is open; the bytes are valid and are copied.
            unsafe {
                CertAddEncodedCertificateToStore(
                    Some(store.0),
                    X509_ASN_ENCODING,
                    certificate.to_der(),
                    CERT_STORE_ADD_ALWAYS,
                    None,
                )
            }
            .map_err(io_error)?;
        }
        Ok(store)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the store is open, and nothing uses it afterwards.
        let _ = unsafe { CertCloseStore(Some(self.0), 0) };
    }
}

/// A chain that Windows has built.
struct Chain(*mut CERT_CHAIN_CONTEXT);

impl Chain {
    fn build(leaf: *const CERT_CONTEXT, others: &Store) -> io::Result<Self> {
        let mut usage = [PSTR(szOID_PKIX_KP_SERVER_AUTH.0.cast_mut())];
        let mut parameters = CERT_CHAIN_PARA {
            cbSize: size_of::<CERT_CHAIN_PARA>() as u32,
            ..CERT_CHAIN_PARA::default()
        };
        parameters.RequestedUsage.dwType = USAGE_MATCH_TYPE_OR;
        parameters.RequestedUsage.Usage = CTL_USAGE {
            cUsageIdentifier: 1,
            rgpszUsageIdentifier: usage.as_mut_ptr(),
        };
        let flags = CERT_CHAIN_CACHE_END_CERT
            | CERT_CHAIN_REVOCATION_CHECK_CACHE_ONLY
            | CERT_CHAIN_REVOCATION_CHECK_CHAIN_EXCLUDE_ROOT;
        let mut chain = std::ptr::null_mut();
        // SAFETY: context and store are alive; the parameters point to `usage`, and that to a constant, which is only read; the
        // chain is written.
        unsafe {
            CertGetCertificateChain(
                None,
                leaf,
                None,
                Some(others.0),
                &raw const parameters,
                flags,
                None,
                &raw mut chain,
            )
        }
        .map_err(io_error)?;
        if chain.is_null() {
            return Err(rejected("no chain"));
        }
        Ok(Self(chain))
    }

    /// Rejects chains with errors that the policy for servers ignores, except an unknown revocation status.
    fn check_status(&self) -> io::Result<()> {
        // SAFETY: the pointer is a chain, which is not freed before `self` is dropped.
        let errors = unsafe { (*self.0).TrustStatus.dwErrorStatus };
        let relevant =
            errors & !(CERT_TRUST_REVOCATION_STATUS_UNKNOWN | CERT_TRUST_IS_OFFLINE_REVOCATION);
        if relevant == 0 {
            return Ok(());
        }
        let known = STATUSES.iter().find(|(error, _)| relevant & error != 0);
        let status = known.map_or(OTHER_ERROR, |(_, status)| *status);
        Err(io::Error::from_raw_os_error(status.cast_signed()))
    }

    /// Applies the policy for TLS servers, without revocation.
    fn check_server_policy(&self, host: &Host) -> io::Result<()> {
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
        let policy = CERT_CHAIN_POLICY_PARA {
            cbSize: size_of::<CERT_CHAIN_POLICY_PARA>() as u32,
            pvExtraPolicyPara: (&raw mut server).cast::<c_void>(),
            ..CERT_CHAIN_POLICY_PARA::default()
        };
        let mut status = CERT_CHAIN_POLICY_STATUS {
            cbSize: size_of::<CERT_CHAIN_POLICY_STATUS>() as u32,
            // An error, for a call that does not write it.
            dwError: u32::MAX,
            ..CERT_CHAIN_POLICY_STATUS::default()
        };
        // SAFETY: the chain is alive; the parameters are those of this policy, and what they point to outlives the call; the
        // status is written.
        let is_verified = unsafe {
            CertVerifyCertificateChainPolicy(
                CERT_CHAIN_POLICY_SSL,
                self.0,
                &raw const policy,
                &raw mut status,
            )
        };
        if !is_verified.as_bool() {
            return Err(io::Error::last_os_error());
        }
        match status.dwError {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: the pointer is a chain, freed once.
        unsafe { CertFreeCertificateChain(self.0) };
    }
}

fn io_error(error: windows::core::Error) -> io::Error {
    io::Error::from_raw_os_error(error.code().0)
}

/// Errors of a chain and the statuses of the policy for servers for them: `CRYPT_E_REVOKED`,
/// `TRUST_E_CERT_SIGNATURE`, `CERT_E_EXPIRED`, `CERT_E_UNTRUSTEDROOT`, `CERT_E_CHAINING`, `CERT_E_WRONG_USAGE`.
const STATUSES: [(u32, u32); 6] = [
    (CERT_TRUST_IS_REVOKED, 0x8009_2010),
    (CERT_TRUST_IS_NOT_SIGNATURE_VALID, 0x8009_6004),
    (CERT_TRUST_IS_NOT_TIME_VALID, 0x800B_0101),
    (CERT_TRUST_IS_UNTRUSTED_ROOT, 0x800B_0109),
    (CERT_TRUST_IS_PARTIAL_CHAIN, 0x800B_010A),
    (CERT_TRUST_IS_NOT_VALID_FOR_USAGE, 0x800B_0110),
];
/// `CERT_E_CN_NO_MATCH`.
const NAME_MISMATCH: u32 = 0x800B_010F;
/// `TRUST_E_FAIL`.
const OTHER_ERROR: u32 = 0x800B_010B;
/// `SECURITY_FLAG_IGNORE_REVOCATION` of WinINet: revocation is checked when the chain is built.
const IGNORE_REVOCATION: u32 = 0x80;
