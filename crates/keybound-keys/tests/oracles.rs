//! OpenSSL's command line verifies signatures of this crate, and this crate those of OpenSSL. Where it is missing, as on Windows,
//! OpenSSL's library does: `src/verify/tests.rs`.
#![cfg(test)]
#![cfg(not(windows))]

use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey as _, SignatureScheme, verify};
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const MESSAGE: &[u8] = b"a message\n";

/// A scheme, the name of its hash, and further options of `openssl dgst`.
const SCHEMES: [(SignatureScheme, &str, &[&str]); 6] = [
    (SignatureScheme::Pkcs1Sha256, "sha256", &[]),
    (SignatureScheme::Pkcs1Sha384, "sha384", &[]),
    (SignatureScheme::Pkcs1Sha512, "sha512", &[]),
    (
        SignatureScheme::PssSha256,
        "sha256",
        &pss("rsa_pss_saltlen:32"),
    ),
    (
        SignatureScheme::PssSha384,
        "sha384",
        &pss("rsa_pss_saltlen:48"),
    ),
    (
        SignatureScheme::PssSha512,
        "sha512",
        &pss("rsa_pss_saltlen:64"),
    ),
];

const fn pss(salt: &'static str) -> [&'static str; 4] {
    ["-sigopt", "rsa_padding_mode:pss", "-sigopt", salt]
}

fn openssl(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("openssl is required ({error}): run scripts/setup"))
}

fn succeed(folder: &Path, arguments: &[&str]) {
    let output = openssl(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
}

fn digest(name: &str) -> Vec<u8> {
    let algorithm = MessageDigest::from_name(name).unwrap();
    hash(algorithm, MESSAGE).unwrap().to_vec()
}

#[test]
fn openssl_verifies_signatures_of_this_crate() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = MemoryKey::generate().unwrap();
    let public = PKey::public_key_from_der(key.public_key_der()).unwrap();
    fs::write(
        folder.join("public.pem"),
        public.public_key_to_pem().unwrap(),
    )
    .unwrap();
    fs::write(folder.join("message"), MESSAGE).unwrap();
    for (scheme, hash, options) in SCHEMES {
        let signature = key.sign(scheme, &digest(hash)).unwrap();
        fs::write(folder.join("signature"), signature).unwrap();
        fs::write(folder.join("digest"), digest(hash)).unwrap();
        let flag = format!("-{hash}");
        let files = [
            "-verify",
            "public.pem",
            "-signature",
            "signature",
            "message",
        ];
        succeed(folder, &[&["dgst", &flag], options, &files].concat());

        let md = format!("digest:{hash}");
        let mgf1 = format!("rsa_mgf1_md:{hash}");
        let options: Vec<_> = options
            .iter()
            .map(|option| {
                if *option == "-sigopt" {
                    "-pkeyopt"
                } else {
                    option
                }
            })
            .collect();
        let mask = if scheme.is_pss() {
            &["-pkeyopt", &mgf1][..]
        } else {
            &[]
        };
        let files = [
            "-pubin",
            "-inkey",
            "public.pem",
            "-sigfile",
            "signature",
            "-in",
            "digest",
        ];
        let call = ["pkeyutl", "-verify", "-pkeyopt", &md];
        succeed(folder, &[&call[..], &options, mask, &files].concat());
    }
}

#[test]
fn verifies_signatures_of_openssl_of_the_exact_scheme_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeed(folder, &["genrsa", "-out", "key.pem", "2048"]);
    succeed(
        folder,
        &[
            "pkey",
            "-in",
            "key.pem",
            "-pubout",
            "-outform",
            "DER",
            "-out",
            "public.der",
        ],
    );
    fs::write(folder.join("message"), MESSAGE).unwrap();
    let public = fs::read(folder.join("public.der")).unwrap();
    let sign = |hash: &str, options: &[&str]| {
        let flag = format!("-{hash}");
        let files = ["-sign", "key.pem", "-out", "signature", "message"];
        succeed(folder, &[&["dgst", &flag], options, &files].concat());
        fs::read(folder.join("signature")).unwrap()
    };
    for (scheme, hash, options) in SCHEMES {
        let signature = sign(hash, options);
        for (other, other_hash, _) in SCHEMES {
            let is_valid = verify(&public, other, &digest(other_hash), &signature);
            assert_eq!(is_valid, other == scheme, "{scheme:?} {other:?}");
        }
    }
    // PSS with another salt length or another mask is another scheme.
    let scheme = SignatureScheme::PssSha256;
    for options in [
        &pss("rsa_pss_saltlen:20")[..],
        &pss("rsa_pss_saltlen:0"),
        &pss("rsa_pss_saltlen:max"),
        &[
            &pss("rsa_pss_saltlen:32")[..],
            &["-sigopt", "rsa_mgf1_md:sha384"],
        ]
        .concat(),
    ] {
        let signature = sign("sha256", options);
        assert!(
            !verify(&public, scheme, &digest("sha256"), &signature),
            "{options:?}"
        );
    }
}
