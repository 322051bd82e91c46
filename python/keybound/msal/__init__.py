"""The managed identity interface of ``msal-msiv2``, on the core of Keybound.

    import keybound.msal as msal

    client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity())
    result = client.acquire_token_for_client(
        resource="https://vault.azure.net", mtls_proof_of_possession=True, with_attestation_support=True
    )

A program for ``msal-msiv2`` needs no other change than that of its imports. All other names and submodules, such as
``ConfidentialClientApplication`` and ``token_cache``, are those of the ``msal`` that is installed, if there is one.
"""

from __future__ import annotations

from keybound.msal._errors import ManagedIdentityError, MsiV2Error
from keybound.msal._identities import ManagedIdentity, SystemAssignedManagedIdentity, UserAssignedManagedIdentity
from keybound.msal._installed import SubmoduleFinder, attribute
from keybound.msal.managed_identity import ManagedIdentityClient
from keybound.msal.windows_certificate import WindowsCertificate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ManagedIdentity",
    "ManagedIdentityClient",
    "ManagedIdentityError",
    "MsiV2Error",
    "SystemAssignedManagedIdentity",
    "UserAssignedManagedIdentity",
    "WindowsCertificate",
]

SubmoduleFinder.install()


def __getattr__(name: str) -> Any:
    return attribute("msal", name)
