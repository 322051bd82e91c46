from __future__ import annotations

import os

import keybound
from keybound.msal._identities import ID, ID_TYPE, to_keybound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MAX_CLIENTS = 64
# By which a client finds IMDS, and an emulator's certificate authority.
_VARIABLES = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "KEYBOUND_CA_FILE", "KEYBOUND_EMULATOR_VAULT")

_clients: dict[tuple[str | None, ...], keybound.ManagedIdentityClient] = {}


def shared_client(identity: Mapping[str, Any]) -> keybound.ManagedIdentityClient:
    """The client of this process for an identity, which keeps its certificates and tokens.

    Raises:
        keybound.InvalidRequest: if the id or the environment is malformed.

    """
    key = (identity[ID_TYPE], identity.get(ID), *map(os.environ.get, _VARIABLES))
    client = _clients.get(key)
    if client is None:
        if len(_clients) >= _MAX_CLIENTS:
            _clients.clear()
        # Of several threads one sets it; all use that one.
        client = _clients.setdefault(key, keybound.ManagedIdentityClient(to_keybound(identity)))
    return client
