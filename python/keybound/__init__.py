"""Azure Managed Identity with mTLS proof-of-possession.

A `ManagedIdentityClient` opens or creates a key that is never exported, requests a certificate for it from IMDS, and requests from
Entra, over mutual TLS with that key, an access token that is bound to the certificate. A resource accepts the token only on a TLS
connection that is authenticated with the same key: a stolen token is worthless.

    client = keybound.ManagedIdentityClient()
    vault = client.resource("https://vault.azure.net")
    secret = vault.get("https://my-vault.vault.azure.net/secrets/db?api-version=7.4").raise_for_status().json()

`keybound.aio` is the same for asyncio.
"""

# Its modules import `typing` for type checkers only: that takes longer than all of the package.
from keybound import _native, _process
from keybound._binding import thumbprint, verify_binding
from keybound._calls import BoundCalls
from keybound._capabilities import Capabilities
from keybound._client import ManagedIdentityClient
from keybound._errors import (
    AttestationFailed,
    BindingRefused,
    DeadlineReached,
    ImdsV2Unavailable,
    InvalidRequest,
    KeyboundError,
    KeyUnavailable,
    ResourceTakesNoBoundTokens,
    ServiceRefused,
    TlsFailed,
    Unreachable,
)
from keybound._identity import KeyStrength, ManagedIdentity
from keybound._native import AccessToken, BindingCertificate
from keybound._resource import ResourceClient
from keybound._response import Headers, Response

__version__: str = _native.VERSION

__all__ = [
    "AccessToken",
    "AttestationFailed",
    "BindingCertificate",
    "BindingRefused",
    "BoundCalls",
    "Capabilities",
    "DeadlineReached",
    "Headers",
    "ImdsV2Unavailable",
    "InvalidRequest",
    "KeyStrength",
    "KeyUnavailable",
    "KeyboundError",
    "ManagedIdentity",
    "ManagedIdentityClient",
    "ResourceClient",
    "ResourceTakesNoBoundTokens",
    "Response",
    "ServiceRefused",
    "TlsFailed",
    "Unreachable",
    "thumbprint",
    "verify_binding",
]

_process.install_hooks()

# Where users find them, also in tracebacks.
for _name in __all__:
    if getattr(globals()[_name], "__module__", "").startswith("keybound._") and not _name.startswith(("AccessT", "BindingC")):
        globals()[_name].__module__ = __name__
