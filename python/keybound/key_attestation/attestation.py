"""Attestation tokens of KeyGuard keys."""

from __future__ import annotations

import logging

from keybound import InvalidRequest, KeyboundError, _native
from keybound._errors import with_causes
from keybound.key_attestation._jwt_cache import JwtCache, Key

__all__ = ["AttestationTokenProvider", "create_attestation_provider", "get_attestation_jwt"]

# Of msal-key-attestation: programs set its level.
_logger = logging.getLogger("msal_key_attestation.attestation")
_cache = JwtCache()


def get_attestation_jwt(
    *,
    attestation_endpoint: str,
    client_id: str,
    key_handle: int,
    auth_token: str = "",
    client_payload: str = "{}",
    cache_key: str | None = None,
) -> str:
    """The token in which the attestation service (MAA) attests a KeyGuard key of the caller, from the cache or from the service.

    Args:
        attestation_endpoint: the origin of the attestation service, https.
        client_id: the client id of the identity, a GUID.
        key_handle: an open ``NCRYPT_KEY_HANDLE`` of this process. It must stay open until this returns; after ``KeyboardInterrupt``
            the library may still use it.
        auth_token: the token with which the native library authenticates to the service; usually empty.
        client_payload: JSON that the service includes in its token.
        cache_key: what identifies the key in the cache, such as its name; by default the number of the handle.

    Raises:
        ValueError: if an argument is empty or malformed.
        RuntimeError: if this is not Windows, the native library is missing or not signed by Microsoft, or it fails. The cause is
            a `keybound.KeyboundError` with the code of the failure.

    """
    secret = _Secret(auth_token)
    del auth_token
    for name, value in (("attestation_endpoint", attestation_endpoint), ("client_id", client_id), ("key_handle", key_handle)):
        if not value:
            raise ValueError(f"[msal_key_attestation] {name} is empty")
    if not 0 < key_handle < 1 << 64:
        raise ValueError("[msal_key_attestation] key_handle is not that of a key")
    handle = f"handle:{key_handle}"
    key = Key(attestation_endpoint, client_id, handle if cache_key is None else cache_key, secret.digest(), client_payload)
    jwt = _cache.find(key)
    if jwt is not None:
        _logger.debug("attestation token from the cache")
        return jwt
    jwt = _attest(attestation_endpoint, client_id, key_handle, secret, client_payload)
    _logger.debug("attestation token acquired")
    _cache.add(key, jwt)
    return jwt


class _Secret:
    """A text that is not shown: tracebacks show local variables."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def digest(self) -> str:
        """What distinguishes it from others."""
        from hashlib import sha256

        return sha256(self.text.encode()).hexdigest()


def _attest(endpoint: str, client_id: str, key_handle: int, auth_token: _Secret, client_payload: str) -> str:
    try:
        return _native.attest_key(endpoint, client_id, key_handle, auth_token.text, client_payload).wait()
    except InvalidRequest:
        raise
    except KeyboundError as error:
        raise RuntimeError(f"[msal_key_attestation] {with_causes(error)}") from error


class AttestationTokenProvider:
    """A function from endpoint, key handle, client id and the name of the key to an attestation token."""

    def __call__(self, attestation_endpoint: str, key_handle: int, client_id: str, cache_key: str = "") -> str:
        """The attestation token; see `get_attestation_jwt`."""
        return get_attestation_jwt(
            attestation_endpoint=attestation_endpoint,
            client_id=client_id,
            key_handle=key_handle,
            cache_key=cache_key or None,
        )


def create_attestation_provider() -> AttestationTokenProvider:
    """The provider for the argument ``attestation_token_provider`` of `keybound.msal.msi_v2.obtain_token`."""
    return AttestationTokenProvider()
