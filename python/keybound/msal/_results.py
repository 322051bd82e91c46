from __future__ import annotations

from base64 import b64encode
from time import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keybound import AccessToken, BindingCertificate

_MAX_CERTIFICATES = 16
# From this lifetime on, msal refreshes a bearer token after half of it.
_LONG_LIFETIME = 7200

# What a result says of its certificate, by thumbprint: tokens are cached by the client only.
_by_certificate: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}


def bound_result(token: AccessToken, certificate: BindingCertificate, resource: str) -> dict[str, Any]:
    """The result for a bound token."""
    thumbprint = certificate.x5t_s256
    known = _by_certificate.get(thumbprint)
    if known is None:
        if len(_by_certificate) >= _MAX_CERTIFICATES:
            _by_certificate.clear()
        known = _by_certificate[thumbprint] = (_texts(certificate), certificate.to_metadata_dict())
    texts, metadata = known
    return {
        "access_token": token.token,
        "expires_in": token.expires_in,
        "token_type": token.token_type,
        "resource": resource,
        **texts,
        "binding_certificate": certificate,
        "binding_certificate_metadata": metadata.copy(),
        "token_source": token.source,
    }


def _texts(certificate: BindingCertificate) -> dict[str, Any]:
    return {
        "cert_pem": certificate.public_certificate_pem.rstrip("\n"),
        "cert_der_b64": b64encode(certificate.public_certificate_der).decode(),
        "cert_thumbprint_sha256": certificate.x5t_s256,
    }


def bearer_result(token: AccessToken, resource: str) -> dict[str, Any]:
    """The result for a plain bearer token, with the members that msal sets."""
    expires_in = token.expires_in
    result: dict[str, Any] = {
        "access_token": token.token,
        "expires_in": expires_in,
        "token_type": token.token_type,
        "resource": resource,
        "token_source": token.source,
    }
    refresh_on = token.refresh_on
    if refresh_on is None and token.source == "identity_provider" and expires_in >= _LONG_LIFETIME:
        refresh_on = int(time()) + expires_in // 2
    if refresh_on is not None:
        result["refresh_on"] = refresh_on
        result["refresh_in"] = max(0, refresh_on - int(time()))
    return result
