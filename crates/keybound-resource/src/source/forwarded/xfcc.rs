use crate::{CertificateError, ClientCertificate};
use std::borrow::Cow;

/// The only element of `X-Forwarded-Client-Cert`, as far as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// The value of `Cert`.
    pub(super) certificate: Cow<'a, str>,
    /// The value of `Hash`: the SHA-256 of the certificate of the connection.
    hash: Option<Cow<'a, str>>,
}

impl<'a> Element<'a> {
    /// Parses a header: elements are separated by commas, `key=value` pairs by semicolons, and a value may be quoted. `None` if the header
    /// is empty, or the element has no `Cert`.
    ///
    /// # Errors
    /// [`CertificateError::Repeated`] for several elements, of which all but the last may be the client's own;
    /// [`CertificateError::Malformed`] for several keys `Cert` or `Hash`, and for a quoted value without an end.
    pub(super) fn parse(header: &'a str) -> Result<Option<Self>, CertificateError> {
        let (mut certificate, mut hash) = (None, None);
        let mut rest = header;
        while !rest.is_empty() {
            let end = rest.find(['=', ',', ';']).unwrap_or(rest.len());
            let key = rest[..end].trim();
            rest = &rest[end..];
            let value = match rest.strip_prefix('=') {
                Some(after) => {
                    let (value, after) = value(after)?;
                    rest = after;
                    value
                }
                None => "".into(),
            };
            let known = match key {
                key if key.eq_ignore_ascii_case("cert") => Some(&mut certificate),
                key if key.eq_ignore_ascii_case("hash") => Some(&mut hash),
                _ => None,
            };
            if known.is_some_and(|known| known.replace(value).is_some()) {
                return Err(CertificateError::Malformed);
            }
            match rest.as_bytes() {
                [] => {}
                [b';', ..] => rest = &rest[1..],
                [b',', ..] => return Err(CertificateError::Repeated),
                _ => return Err(CertificateError::Malformed),
            }
        }
        Ok(certificate.map(|certificate| Self { certificate, hash }))
    }

    /// Whether `Hash` is that of this certificate. Envoy does not quote the names in a certificate that the client may have made, so that
    /// these can contain a `Cert` of somebody else. It always writes its own `Hash`, before them.
    pub(super) fn is_of(&self, certificate: &ClientCertificate) -> bool {
        let sha256 = &certificate.certificate().thumbprints().sha256;
        let hash = self.hash.as_deref();
        hash.is_some_and(|hash| hash.eq_ignore_ascii_case(sha256))
    }
}

/// A value and what follows it.
fn value(text: &str) -> Result<(Cow<'_, str>, &str), CertificateError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).unwrap_or(text.len());
        return Ok((text[..end].into(), &text[end..]));
    };
    let mut unescaped = String::new();
    let mut chars = quoted.char_indices();
    while let Some((position, char)) = chars.next() {
        match char {
            '"' => return Ok((unescaped.into(), &quoted[position + 1..])),
            '\\' => unescaped.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => unescaped.push(char),
        }
    }
    Err(CertificateError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_certificate_and_hash_of_one_element() {
        for (header, expected) in [
            ("", Ok(None)),
            ("Hash=ab", Ok(None)),
            ("Cert=x", Ok(Some(("x", None)))),
            ("Cert=\"x\"", Ok(Some(("x", None)))),
            (
                "Hash=ab;Cert=\"a%20b\";Subject=\"CN=a, O=\\\"b;c\\\"\"",
                Ok(Some(("a%20b", Some("ab")))),
            ),
            (
                "By=spiffe://a/b;By=spiffe://a/c;Hash=ab;URI=;URI=d;DNS=a;DNS=b;Cert=x",
                Ok(Some(("x", Some("ab")))),
            ),
            (
                "Hash=\"ab\"; Cert=\"x\"; Chain=\"y\"",
                Ok(Some(("x", Some("ab")))),
            ),
            ("Subject=\"Cert=y;Hash=b\";Cert=x", Ok(Some(("x", None)))),
            ("Chain=\"Cert=y\";cert=x;HASH=a", Ok(Some(("x", Some("a"))))),
            ("Cert=", Ok(Some(("", None)))),
            ("Cert;Hash", Ok(Some(("", Some(""))))),
            ("Cert=x;", Ok(Some(("x", None)))),
            ("Cert=x,Cert=y", Err(CertificateError::Repeated)),
            ("Cert=x,", Err(CertificateError::Repeated)),
            (",Cert=x", Err(CertificateError::Repeated)),
            ("Hash=a,Hash=b;Cert=x", Err(CertificateError::Repeated)),
            ("Cert=x;Cert=y", Err(CertificateError::Malformed)),
            ("Cert=x;Cert=x", Err(CertificateError::Malformed)),
            ("Hash=a;Cert=x;hash=a", Err(CertificateError::Malformed)),
            (
                "Hash=a;URI=x;Hash=b;Cert=x",
                Err(CertificateError::Malformed),
            ),
            ("Hash;Cert=x;Hash=a", Err(CertificateError::Malformed)),
            ("Cert=\"x", Err(CertificateError::Malformed)),
            ("Cert=\"x\\\"", Err(CertificateError::Malformed)),
            ("Cert=\"x\"y", Err(CertificateError::Malformed)),
        ] {
            let found = Element::parse(header);
            let found = found.as_ref().map(|element| {
                element
                    .as_ref()
                    .map(|element| (&*element.certificate, element.hash.as_deref()))
            });
            assert_eq!(found, expected.as_ref().copied(), "{header}");
        }
    }
}
