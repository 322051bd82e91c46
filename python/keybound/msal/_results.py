from __future__ import annotations

from base64 import b64encode
from time import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from keybound import AccessToken, BindingCertificate

_MAX_CERTIFICATES = 16
# From this lifetime on, msal refreshes a bearer token after half of it.
_LONG_LIFETIME = 7200

# Results without token, by the thumbprint of their certificate: tokens are cached by the client only.
templates: dict[str, dict[str, Any]] = {}


def with_new_template(token: AccessToken, resource: str) -> dict[str, Any] | None:
    """The result for a bound token, whose certificate has no template yet; ``None`` for another token."""
    certificate = token.certificate
    if certificate is None:
        return None
    if len(templates) >= _MAX_CERTIFICATES:
        templates.clear()
    template = _template(token.token_type, certificate)
    templates[certificate.x5t_s256] = template
    # Another thread may clear the templates.
    return token._fill({certificate.x5t_s256: template}, resource)


def _template(token_type: str, certificate: BindingCertificate) -> dict[str, Any]:
    return {
        "access_token": None,
        "expires_in": None,
        "token_type": token_type,
        "resource": None,
        "cert_pem": certificate.public_certificate_pem.rstrip("\n"),
        "cert_der_b64": b64encode(certificate.public_certificate_der).decode(),
        "cert_thumbprint_sha256": certificate.x5t_s256,
        "binding_certificate": None,
        "binding_certificate_metadata": certificate.to_metadata_dict(),
        "token_source": None,
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
