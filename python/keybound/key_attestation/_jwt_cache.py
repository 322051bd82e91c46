from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode
from time import time
from typing import Any, Callable, NamedTuple

# In seconds before the expiry: the token is refreshed, or no longer used.
_REFRESH_MARGIN = 10
_EXPIRY_MARGIN = 5
_MAX_ENTRIES = 256


class Key(NamedTuple):
    """What distinguishes one attestation token from another."""

    endpoint: str
    client_id: str
    key: str
    # Not the secret itself.
    auth_token_digest: str
    client_payload: str


class _Entry(NamedTuple):
    jwt: str
    usable_until: float


class JwtCache:
    """Attestation tokens in memory, each until 90 % of its lifetime. ``MSAL_MSI_V2_ATTESTATION_CACHE=0`` switches it off."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._entries: dict[Key, _Entry] = {}

    def find(self, key: Key) -> str | None:
        """The token, if it is not due for a refresh."""
        entry = self._entries.get(key)
        if entry is None or self._clock() >= entry.usable_until or not _is_enabled():
            return None
        return entry.jwt

    def add(self, key: Key, jwt: str) -> None:
        """Stores a token, if it has a time of expiry."""
        claims = _claims(jwt)
        expiry, now = _seconds(claims.get("exp")), self._clock()
        issued = _seconds(claims.get("iat"))
        issued = now if issued is None else issued
        if expiry is None or expiry <= issued or not _is_enabled():
            return
        if len(self._entries) >= _MAX_ENTRIES:
            self._entries.clear()
        refresh_on = min(issued + 0.9 * (expiry - issued), expiry - _REFRESH_MARGIN)
        self._entries[key] = _Entry(jwt, min(refresh_on, expiry - _EXPIRY_MARGIN))


def _is_enabled() -> bool:
    return os.environ.get("MSAL_MSI_V2_ATTESTATION_CACHE", "1").strip().lower() in ("1", "true", "yes", "y", "on")


def _claims(jwt: str) -> dict[str, Any]:
    try:
        payload = jwt.split(".")[1].rstrip("=")
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _seconds(value: object) -> float | None:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
