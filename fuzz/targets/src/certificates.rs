use crate::check::{
    self, CLIENT, PUBLIC_KEY, TENANT, assert_no_canary, assert_printable, assert_safe, now,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_core::csr::{PSS_ALGORITHM, UnsignedCsr};
use keybound_core::{Certificate, CuId, Guid, MAX_CERTIFICATE};
use keybound_transport::TrustAnchors;

/// A certificate in DER.
pub fn certificate(data: &[u8]) {
    let certificate = match Certificate::from_der(data) {
        Ok(certificate) => certificate,
        Err(error) => return check::error(&error),
    };
    assert!(data.len() <= MAX_CERTIFICATE);
    assert_eq!(certificate.der(), data);
    for name in [certificate.subject(), certificate.issuer()] {
        assert!(name.chars().count() <= 1025);
        assert_printable(name);
    }
    let pem = certificate.to_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(STANDARD.decode(body).expect("PEM is base64"), data);
    assert!(pem.lines().all(|line| line.len() <= 64));
    let prints = certificate.thumbprints();
    assert_eq!(
        (
            prints.sha1.len(),
            prints.sha256.len(),
            prints.x5t_s256.as_str().len()
        ),
        (40, 64, 43)
    );
    let is_valid = certificate.not_before() <= now() && now() <= certificate.not_after();
    assert_eq!(certificate.check_validity(now()).is_ok(), is_valid);
    let effective = certificate.effective_not_after();
    let token_end = certificate.token_not_after();
    assert_eq!(
        effective,
        token_end.map_or(certificate.not_after(), |end| end
            .min(certificate.not_after()))
    );
    let allows_tokens = token_end.is_none_or(|end| now() < end);
    assert_eq!(
        certificate.check_token_not_after(now()).is_ok(),
        allows_tokens
    );
    if let Err(error) = certificate.check_usages() {
        check::error(&error);
    }
    let same_key = certificate.public_key_der() == PUBLIC_KEY;
    assert_eq!(certificate.check_key(PUBLIC_KEY).is_ok(), same_key);
    if certificate
        .check_names(&guid(CLIENT), &guid(TENANT))
        .is_ok()
    {
        let subject = certificate.subject().to_lowercase();
        let is_complete = !subject.ends_with('…');
        assert!(
            !is_complete || (subject.contains(CLIENT) && subject.contains(TENANT)),
            "{subject}"
        );
    }
}

/// A public key in the format of Windows. An accepted key works in a signing request, and converts back.
pub fn rsa_public_blob(data: &[u8]) {
    let Some(public_key) = keybound_keys::fuzz::rsa_public_blob(data) else {
        return;
    };
    assert!((24 + 1 + 256..=24 + 8 + 256).contains(&data.len()));
    assert!((290..=300).contains(&public_key.len()));
    let modulus = &data[data.len() - 256..];
    assert!(public_key.windows(256).any(|window| window == modulus));
    let cu_id = CuId::new(Some("v".into()), None).expect("an id");
    UnsignedCsr::new(&guid(CLIENT), &guid(TENANT), &cu_id, &public_key).expect("RSA-2048");
    let back = keybound_keys::fuzz::rsa_public_key(&public_key);
    assert_eq!(back.as_deref(), Some(data));
}

/// A public key in DER, in a signing request and in the format of Windows.
pub fn signing_request(data: &[u8]) {
    let blob = keybound_keys::fuzz::rsa_public_key(data);
    if let Some(blob) = &blob {
        let back = keybound_keys::fuzz::rsa_public_blob(blob);
        assert_eq!(back.as_deref(), Some(data));
    }
    let cu_id = CuId::new(Some("v".into()), None).expect("an id");
    let unsigned = match UnsignedCsr::new(&guid(CLIENT), &guid(TENANT), &cu_id, data) {
        Ok(unsigned) => unsigned,
        Err(error) => {
            assert!(blob.is_none());
            return check::error(&error);
        }
    };
    // Only the exponent of an RSA-2048 key has no fixed length.
    assert!((290..=560).contains(&data.len()), "{}", data.len());
    let info = unsigned.to_be_signed();
    assert!(info.windows(data.len()).any(|window| window == data));
    let csr = unsigned.finish(&[0x5a; 256]).expect("256 bytes");
    let tail = [
        &PSS_ALGORITHM[..],
        &[0x03, 0x82, 0x01, 0x01, 0x00],
        &[0x5a; 256],
    ]
    .concat();
    assert!(csr.der().ends_with(&tail));
    assert_eq!(csr.der().len(), 4 + info.len() + tail.len());
    assert_eq!(STANDARD.decode(csr.to_wire()).expect("base64"), csr.der());
}

fn guid(text: &str) -> Guid {
    Guid::parse(text).expect("a GUID")
}

/// A CA file: line endings do not matter, and errors do not quote it.
pub fn trust_anchors(data: &[u8]) {
    let parse = |text: &[u8]| TrustAnchors::system().with_pem(text);
    match parse(data) {
        Ok(anchors) => {
            assert!(anchors.is_extended());
            // Text after the last certificate is ignored, also without a line end before it.
            let more = [data, b"\n# -----BEGIN CERTIFICATE-----\n"].concat();
            assert_eq!(parse(&more).expect("only a comment was added"), anchors);
        }
        Err(error) => {
            assert_safe(&error.to_string());
            assert_no_canary(&format!("{error:?}"));
        }
    }
}
