"""Bound tokens: the functions of ``msal.msi_v2`` of ``msal-msiv2``."""

from __future__ import annotations

import logging

import keybound
from keybound import AccessToken, KeyboundError, KeyStrength, _native
from keybound.msal._errors import MsiV2Error, msi_v2_error
from keybound.msal._identities import checked
from keybound.msal._results import templates, with_new_template
from keybound.msal._shared_clients import shared_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from keybound.msal._identities import AnyManagedIdentity

__all__ = ["MsiV2Error", "get_cert_thumbprint_sha256", "obtain_token", "verify_cnf_binding"]

# Of msal-msiv2: programs set its level.
_logger = logging.getLogger("msal.msi_v2")
# Of an acquisition, in seconds.
_TIMEOUT = 60.0
_MAX_REQUESTS = 64
_STRONGEST = KeyStrength.KEYGUARD

# By resource, requests without claims for the strongest keys: they are parsed once.
_attested: dict[str, _native.Request] = {}
_unattested: dict[str, _native.Request] = {}


def obtain_token(
    http_client: object,  # noqa: ARG001
    managed_identity: AnyManagedIdentity,
    resource: str,
    *,
    attestation_enabled: bool = True,
    attestation_token_provider: Callable[..., str] | None = None,
    claims_challenge: str | None = None,
    min_strength: KeyStrength = KeyStrength.KEYGUARD,
    client: keybound.ManagedIdentityClient | None = None,
) -> dict[str, Any]:
    """Acquires a token that is bound to the certificate of this process' key, from the cache or from Entra.

    Args:
        http_client: not used; ``None`` is fine.
        managed_identity: the identity; ``None`` for the system-assigned one.
        resource: such as ``https://vault.azure.net``.
        attestation_enabled: whether the key must be attested. It is never left out instead.
        attestation_token_provider: ``None``, or the result of `keybound.key_attestation.create_attestation_provider`. The
            attestation is the same with both.
        claims_challenge: the claims of a resource's challenge, JSON. A new certificate and a new token are requested.
        min_strength: the minimum strength of the key.
        client: acquires the token; by default a client of this process for the identity.

    Returns:
        ``access_token``, ``expires_in`` in seconds, ``token_type`` (``"mtls_pop"``), ``resource``, ``token_source``
        (``"identity_provider"`` or ``"cache"``); of the certificate ``cert_pem``, ``cert_der_b64``, ``cert_thumbprint_sha256``
        in base64url, ``binding_certificate``, a `keybound.BindingCertificate`, and ``binding_certificate_metadata``.

    Raises:
        MsiV2Error: if there is no such token. A weaker one is never returned.
        ManagedIdentityError: if the identity is malformed.

    """
    if attestation_token_provider is not None and attestation_enabled:
        _check_provider(attestation_token_provider)
    try:
        if client is None:
            client = shared_client(checked(managed_identity))
        is_usual = claims_challenge is None and min_strength is _STRONGEST
        requests = _attested if attestation_enabled else _unattested
        request = requests.get(resource) if is_usual else None
        if request is None:
            request = _new_request(resource, bool(attestation_enabled), min_strength, claims_challenge)
        token = client._native.acquire(request)
        if type(token) is not AccessToken:
            token = token.wait()
    except KeyboundError as error:
        _logger.debug("no bound token for %s: %s", resource, error.code)
        raise msi_v2_error(error) from error
    # Before there is a result, whose token a traceback of a failing log handler would show.
    if token.source != "cache" and token.certificate is not None:
        _logger.debug("bound token for %s acquired, certificate %s", resource, token.certificate.x5t_s256)
    result = token._fill(templates, resource) or with_new_template(token, resource)
    if result is None:
        raise MsiV2Error("[msi_v2] the token is bound to no certificate", code="token_not_bound")
    return result


def verify_cnf_binding(token: str, cert_pem: str) -> bool:
    """Whether a token is bound to a certificate: its claim ``cnf`` has the ``x5t#S256`` of the certificate. ``False`` for anything
    that is not such a token or certificate.

    Args:
        token: a JWT; its signature is not verified.
        cert_pem: the certificate, PEM.

    """
    return keybound.verify_binding(token, cert_pem)


def get_cert_thumbprint_sha256(cert_pem: str) -> str:
    """The SHA-256 thumbprint of a certificate as in ``x5t#S256``: base64url without padding; ``""`` if there is none.

    Args:
        cert_pem: the certificate, PEM.

    """
    try:
        return keybound.thumbprint(cert_pem)
    except (ValueError, AttributeError, TypeError):
        return ""


def _new_request(resource: str, is_attested: bool, min_strength: KeyStrength, claims: str | None) -> _native.Request:
    request = _native.Request.pop(resource, is_attested, min_strength, claims, False, _TIMEOUT)
    if claims is None and min_strength is _STRONGEST:
        requests = _attested if is_attested else _unattested
        if len(requests) >= _MAX_REQUESTS:
            requests.clear()
        requests[resource] = request
    return request


def _check_provider(provider: object) -> None:
    """A function of the caller would get the handle of a key that stays with the core."""
    from keybound.key_attestation.attestation import AttestationTokenProvider

    if not isinstance(provider, AttestationTokenProvider):
        raise MsiV2Error(
            "[msi_v2] attestation_token_provider is None or that of keybound.key_attestation.create_attestation_provider()",
            code="attestation_unavailable",
        )
