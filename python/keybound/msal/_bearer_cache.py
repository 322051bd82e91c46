from __future__ import annotations

from time import time

from keybound.msal._identities import ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# With which msal stores tokens of managed identities.
_ENVIRONMENT = "localhost"
_REALM = "managed_identity"
# In seconds: msal uses no token with less lifetime.
_MIN_LIFETIME = 300


class BearerCache:
    """Bearer tokens in a ``TokenCache`` of msal, under the keys that msal itself uses: programs that share or store such a cache
    find them. Bound tokens are never stored in it.
    """

    def __init__(self, token_cache: Any, identity: Mapping[str, Any]) -> None:
        self._tokens = token_cache
        self._client_id = identity[ID]

    def find(self, resource: str) -> dict[str, Any] | None:
        """The result for a stored token that is not due for a refresh."""
        now = time()
        query = {
            "client_id": self._client_id,
            "environment": _ENVIRONMENT,
            "realm": _REALM,
            "home_account_id": None,
        }
        for entry in self._tokens.search(self._tokens.CredentialType.ACCESS_TOKEN, target=[resource], query=query):
            expires_in = int(entry["expires_on"]) - now
            if expires_in >= _MIN_LIFETIME and int(entry.get("refresh_on", entry["expires_on"])) > now:
                return _result(entry, int(expires_in))
        return None

    def add(self, resource: str, result: dict[str, Any]) -> None:
        """Stores the token of a result."""
        self._tokens.add(
            {
                "client_id": self._client_id,
                "scope": [resource],
                "token_endpoint": f"https://{_ENVIRONMENT}/{_REALM}",
                "response": {name: value for name, value in result.items() if name in _STORED},
                "params": {},
                "data": {},
            }
        )


def _result(entry: Mapping[str, Any], expires_in: int) -> dict[str, Any]:
    result = {
        "access_token": entry["secret"],
        "token_type": entry.get("token_type", "Bearer"),
        "expires_in": expires_in,
        "token_source": "cache",
    }
    if "refresh_on" in entry:
        result["refresh_on"] = int(entry["refresh_on"])
    return result


_STORED = frozenset(("access_token", "expires_in", "refresh_in", "resource", "token_type"))
