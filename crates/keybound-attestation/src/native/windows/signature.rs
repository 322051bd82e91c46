//! Verifies Authenticode signatures.
#![allow(unsafe_code, reason = "calls of Windows")]
use super::held_file::HeldFile;
use std::borrow::Cow;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::windows::ffi::OsStrExt as _;
use windows::Win32::Foundation::{HWND, INVALID_HANDLE_VALUE};
use windows::Win32::Security::Cryptography::{
    CERT_CHAIN_CONTEXT, CERT_CHAIN_POLICY_FLAGS, CERT_CHAIN_POLICY_MICROSOFT_ROOT,
    CERT_CHAIN_POLICY_PARA, CERT_CHAIN_POLICY_STATUS, CERT_NAME_ATTR_TYPE, CertGetNameStringW,
    CertVerifyCertificateChainPolicy, MICROSOFT_ROOT_CERT_CHAIN_POLICY_CHECK_APPLICATION_ROOT_FLAG,
    szOID_ORGANIZATION_NAME,
};
use windows::Win32::Security::WinTrust::{
    CRYPT_PROVIDER_SGNR, WINTRUST_ACTION_GENERIC_VERIFY_V2, WINTRUST_DATA, WINTRUST_DATA_0,
    WINTRUST_FILE_INFO, WTD_CACHE_ONLY_URL_RETRIEVAL, WTD_CHOICE_FILE, WTD_REVOKE_NONE,
    WTD_STATEACTION_CLOSE, WTD_STATEACTION_VERIFY, WTD_UI_NONE, WTHelperGetProvCertFromChain,
    WTHelperGetProvSignerFromChain, WTHelperProvDataFromStateData, WinVerifyTrust,
};
use windows::core::PCWSTR;

/// Verifies the signature in the file: it is valid, its chain ends at a root of Microsoft, and the signer's certificate names
/// Microsoft. Returns the signer's organisation.
///
/// A root that this Windows trusts is not enough: companies and users can add one, and certify any name with it.
///
/// Neither revocation lists nor certificates are fetched: the result is the same on hosts without internet access, and
/// without delay. Windows' list of distrusted certificates applies.
///
/// # Errors
/// The reason for rejecting it.
pub(super) fn signed_by_microsoft(file: &HeldFile) -> Result<String, Cow<'static, str>> {
    let path: Vec<u16> = file.path.as_os_str().encode_wide().chain([0]).collect();
    let mut subject = WINTRUST_FILE_INFO {
        cbStruct: size_of::<WINTRUST_FILE_INFO>() as u32,
        pcwszFilePath: PCWSTR(path.as_ptr()),
        hFile: file.handle(),
        ..WINTRUST_FILE_INFO::default()
    };
    let mut verification = Verification::new(&mut subject);
    match verification.run() {
        0 => {}
        status => return Err(reason(status)),
    }
    if !verification.is_below_root_of_microsoft() {
        return Err("its signature leads to a root that is not Microsoft's".into());
    }
    match verification.organisation() {
        Some(organisation) if organisation == MICROSOFT => Ok(organisation),
        Some(organisation) => {
            Err(format!("it is signed by {organisation:?}, not by {MICROSOFT}").into())
        }
        None => Err("its signer's certificate names no organisation".into()),
    }
}

/// The state of a verification in Windows; closed on drop.
struct Verification<'a> {
    data: WINTRUST_DATA,
    /// The data points to it until then.
    _subject: PhantomData<&'a mut WINTRUST_FILE_INFO>,
}

impl<'a> Verification<'a> {
    /// The verification of a file. Its path and handle belong to [`signed_by_microsoft`] and outlive it.
    fn new(subject: &'a mut WINTRUST_FILE_INFO) -> Self {
        Self {
            data: WINTRUST_DATA {
                cbStruct: size_of::<WINTRUST_DATA>() as u32,
                dwUIChoice: WTD_UI_NONE,
                fdwRevocationChecks: WTD_REVOKE_NONE,
                dwUnionChoice: WTD_CHOICE_FILE,
                Anonymous: WINTRUST_DATA_0 { pFile: subject },
                dwStateAction: WTD_STATEACTION_VERIFY,
                dwProvFlags: WTD_CACHE_ONLY_URL_RETRIEVAL,
                ..WINTRUST_DATA::default()
            },
            _subject: PhantomData,
        }
    }

    fn run(&mut self) -> i32 {
        let mut action = WINTRUST_ACTION_GENERIC_VERIFY_V2;
        // SAFETY: there is no window (INVALID_HANDLE_VALUE); action and data are valid during the call, and so are the pointers
        // in the data: the file's description, its path that ends with NUL, its open handle.
        unsafe {
            WinVerifyTrust(
                HWND(INVALID_HANDLE_VALUE.0),
                &raw mut action,
                (&raw mut self.data).cast::<c_void>(),
            )
        }
    }

    /// The signer, valid until the verification is closed. For use after a successful run.
    fn signer(&self) -> Option<&CRYPT_PROVIDER_SGNR> {
        // SAFETY: the verification is not closed; the results of the helpers belong to it and are valid until then. Each pointer
        // is checked before use.
        unsafe {
            let state = WTHelperProvDataFromStateData(self.data.hWVTStateData);
            if state.is_null() {
                return None;
            }
            let signer = WTHelperGetProvSignerFromChain(state, 0, false, 0).as_ref()?;
            // An older, shorter structure has no chain at its end.
            (signer.cbStruct as usize >= size_of::<CRYPT_PROVIDER_SGNR>()).then_some(signer)
        }
    }

    fn is_below_root_of_microsoft(&self) -> bool {
        let is_of = |flags| {
            let chain = self.signer()?.pChainContext;
            // SAFETY: the chain belongs to the verification, which is not closed.
            (!chain.is_null()).then(|| unsafe { is_below_root(chain, flags) })
        };
        ROOTS_OF_MICROSOFT
            .into_iter()
            .any(|flags| is_of(flags) == Some(true))
    }

    /// The organisation in the signer's certificate.
    fn organisation(&self) -> Option<String> {
        let signer = self.signer()?;
        let mut name = [0_u16; MAX_NAME];
        // SAFETY: signer and certificate belong to a verification that is not closed. Each pointer is checked before use, and
        // none is stored. The attribute's name ends with NUL; the buffer's length is passed.
        let length = unsafe {
            let certificate =
                WTHelperGetProvCertFromChain(std::ptr::from_ref(signer).cast_mut(), 0);
            if certificate.is_null() || (*certificate).pCert.is_null() {
                return None;
            }
            CertGetNameStringW(
                (*certificate).pCert,
                CERT_NAME_ATTR_TYPE,
                0,
                Some(szOID_ORGANIZATION_NAME.0.cast()),
                Some(&mut name),
            )
        };
        let length = usize::try_from(length).ok()?.checked_sub(1)?;
        let text = String::from_utf16(name.get(..length)?).ok()?;
        (!text.is_empty()).then_some(text)
    }
}

impl Drop for Verification<'_> {
    fn drop(&mut self) {
        self.data.dwStateAction = WTD_STATEACTION_CLOSE;
        self.run();
    }
}

/// Whether a chain ends at one of Microsoft's roots that the flags select.
///
/// # Safety
/// The chain is a certificate chain context that is not freed.
unsafe fn is_below_root(chain: *const CERT_CHAIN_CONTEXT, flags: CERT_CHAIN_POLICY_FLAGS) -> bool {
    let parameters = CERT_CHAIN_POLICY_PARA {
        cbSize: size_of::<CERT_CHAIN_POLICY_PARA>() as u32,
        dwFlags: flags,
        ..CERT_CHAIN_POLICY_PARA::default()
    };
    let mut status = CERT_CHAIN_POLICY_STATUS {
        cbSize: size_of::<CERT_CHAIN_POLICY_STATUS>() as u32,
        ..CERT_CHAIN_POLICY_STATUS::default()
    };
    // SAFETY: the caller guarantees that the chain is not freed; this policy has no further parameters; the pointer for the
    // status is valid.
    let checked = unsafe {
        CertVerifyCertificateChainPolicy(
            CERT_CHAIN_POLICY_MICROSOFT_ROOT,
            chain,
            &raw const parameters,
            &raw mut status,
        )
    };
    checked.as_bool() && status.dwError == 0
}

/// Describes a status of WinVerifyTrust.
fn reason(status: i32) -> Cow<'static, str> {
    let reason = match status.cast_unsigned() {
        0x800b_0100 => "it is not signed",
        0x8009_6010 => "it was changed after it was signed",
        0x800b_0109 => "its signature does not lead to a root that this Windows trusts",
        0x800b_010a => "the chain of its signature is broken",
        0x800b_0101 => "its signature was not valid at the time of signing",
        0x800b_010c => "the certificate of its signature is revoked",
        0x800b_0111 => "the certificate of its signature is distrusted on this host",
        0x800b_0004 => "its signature is not trusted on this host",
        _ => "its signature could not be verified",
    };
    format!("{reason} (0x{status:08x})").into()
}

const MICROSOFT: &str = "Microsoft Corporation";
/// The roots of Windows, and the one for applications ("Microsoft Root Certificate Authority 2011"), not those for tests.
const ROOTS_OF_MICROSOFT: [CERT_CHAIN_POLICY_FLAGS; 2] = [
    CERT_CHAIN_POLICY_FLAGS(0),
    MICROSOFT_ROOT_CERT_CHAIN_POLICY_CHECK_APPLICATION_ROOT_FLAG,
];
/// In UTF-16 units.
const MAX_NAME: usize = 256;
