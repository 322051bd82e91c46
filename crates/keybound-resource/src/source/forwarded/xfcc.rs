use crate::CertificateError;
use std::borrow::Cow;

/// The value of `Cert` in the only element of `X-Forwarded-Client-Cert`: elements are separated by commas, `key=value` pairs by
/// semicolons, and a value may be quoted. `None` if the header is empty, or the element has no `Cert`.
///
/// # Errors
/// [`CertificateError::Repeated`] for several elements, of which all but the last may be the client's own;
/// [`CertificateError::Malformed`] for several keys `Cert`, and for a quoted value without an end.
pub(super) fn certificate(header: &str) -> Result<Option<Cow<'_, str>>, CertificateError> {
    let mut certificate = None;
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
        if key.eq_ignore_ascii_case("cert") && certificate.replace(value).is_some() {
            return Err(CertificateError::Malformed);
        }
        match rest.as_bytes() {
            [] => {}
            [b';', ..] => rest = &rest[1..],
            [b',', ..] => return Err(CertificateError::Repeated),
            _ => return Err(CertificateError::Malformed),
        }
    }
    Ok(certificate)
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
    fn reads_the_certificate_of_one_element() {
        for (header, expected) in [
            ("", Ok(None)),
            ("Hash=ab", Ok(None)),
            ("Cert=x", Ok(Some("x"))),
            ("Cert=\"x\"", Ok(Some("x"))),
            (
                "Hash=ab;Cert=\"a%20b\";Subject=\"CN=a, O=\\\"b;c\\\"\"",
                Ok(Some("a%20b")),
            ),
            ("By=spiffe://a/b;Hash=ab;URI=;Cert=x", Ok(Some("x"))),
            ("Subject=\"Cert=y\";Cert=x", Ok(Some("x"))),
            ("cert=x", Ok(Some("x"))),
            ("Cert=", Ok(Some(""))),
            ("Cert", Ok(Some(""))),
            ("Cert=x;", Ok(Some("x"))),
            ("Cert=x,Cert=y", Err(CertificateError::Repeated)),
            ("Cert=x,", Err(CertificateError::Repeated)),
            (",Cert=x", Err(CertificateError::Repeated)),
            ("Hash=a,Hash=b;Cert=x", Err(CertificateError::Repeated)),
            ("Cert=x;Cert=y", Err(CertificateError::Malformed)),
            ("Cert=x;Cert=x", Err(CertificateError::Malformed)),
            ("Cert=\"x", Err(CertificateError::Malformed)),
            ("Cert=\"x\\\"", Err(CertificateError::Malformed)),
            ("Cert=\"x\"y", Err(CertificateError::Malformed)),
        ] {
            let found = certificate(header);
            assert_eq!(
                found.as_ref().map(Option::as_deref),
                expected.as_ref().copied(),
                "{header}"
            );
        }
    }
}
