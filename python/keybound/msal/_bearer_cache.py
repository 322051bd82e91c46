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

    No local variable is a token or contains one, unless it is a `StoredToken`: a cache can fail, and tracebacks show locals.
    """

    def __init__(self, token_cache: Any, identity: Mapping[str, Any]) -> None:
        self._tokens = token_cache
        self._client_id = identity.get(ID)

    def find(self, resource: str) -> StoredToken | None:
        """A stored token, if possible one that is not due for a refresh."""
        now = time()
        aging = None
        query = {
            "client_id": self._client_id,
            "environment": _ENVIRONMENT,
            "realm": _REALM,
            "home_account_id": None,
        }
        found = self._tokens.search(self._tokens.CredentialType.ACCESS_TOKEN, target=[resource], query=query)
        for token in map(StoredToken, found):
            if token.expires_on - now < _MIN_LIFETIME:
                continue
            if token.refresh_on > now:
                return token
            aging = token
        return aging

    def add(self, resource: str, result: HiddenResult) -> None:
        """Stores the token of a result."""
        self._tokens.add(
            {
                "client_id": self._client_id,
                "scope": [resource],
                "token_endpoint": f"https://{_ENVIRONMENT}/{_REALM}",
                "response": {name: value for name, value in result.members.items() if name in _STORED},
                "params": {},
                "data": {},
            }
        )


class HiddenResult:
    """A result with a token, which is not shown."""

    __slots__ = ("members",)

    def __init__(self, members: dict[str, Any]) -> None:
        self.members = members


class StoredToken:
    """A token of such a cache, which is not shown."""

    __slots__ = ("_entry",)

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self._entry = entry

    @property
    def expires_on(self) -> int:
        """In seconds since 1970."""
        return int(self._entry["expires_on"])

    @property
    def refresh_on(self) -> int:
        """In seconds since 1970."""
        return int(self._entry.get("refresh_on", self.expires_on))

    def is_due(self) -> bool:
        """Whether it is to be refreshed, and used only if that fails."""
        return self.refresh_on <= time()

    def result(self) -> dict[str, Any]:
        """The result of a call that this token answers."""
        times = {"expires_in": int(self.expires_on - time())}
        if "refresh_on" in self._entry:
            times["refresh_on"] = self.refresh_on
        return {
            "access_token": self._entry["secret"],
            "token_type": self._entry.get("token_type", "Bearer"),
            "token_source": "cache",
            **times,
        }


_STORED = frozenset(("access_token", "expires_in", "refresh_in", "resource", "token_type"))
