"""Tests a host from end to end: type, binding and cache of a token, and a call of a vault or another resource.

    python -m keybound.emulator -- python msal_end_to_end.py

The environment selects what is tested: `MSI_V2_CLIENT_ID` a user-assigned identity; `MSI_V2_VAULT_URL` and `MSI_V2_SECRET_NAME` the
secret; `MSI_V2_RESOURCE` and `MSI_V2_DOWNSTREAM_URL` another resource and the URL to call; `MSI_V2_CERT_THUMBPRINT` a certificate
of the user's certificate store (Windows), which is tested as well. The exit status is 0 if all checks pass.
"""

import os
import sys

from keybound.key_attestation import create_attestation_provider
from keybound.msal import MsiV2Error, SystemAssignedManagedIdentity, UserAssignedManagedIdentity, WindowsCertificate
from keybound.msal.msi_v2 import obtain_token, verify_cnf_binding
from keybound.schannel_transport import SchannelSession

VAULT = os.environ.get("KEYBOUND_EMULATOR_VAULT", "https://my-vault.vault.azure.net")


def main() -> int:
    """Returns the exit status."""
    resource = os.environ.get("MSI_V2_RESOURCE", "https://vault.azure.net")
    vault = os.environ.get("MSI_V2_VAULT_URL", VAULT)
    name = os.environ.get("MSI_V2_SECRET_NAME", "demo-secret")
    url = os.environ.get("MSI_V2_DOWNSTREAM_URL", f"{vault}/secrets/{name}?api-version=7.4")
    client_id = os.environ.get("MSI_V2_CLIENT_ID")
    identity = UserAssignedManagedIdentity(client_id=client_id) if client_id else SystemAssignedManagedIdentity()

    try:
        first, second = (
            obtain_token(None, identity, resource, attestation_token_provider=create_attestation_provider()) for _ in range(2)
        )
    except MsiV2Error as error:
        print(f"FAILED token: {error} ({error.code})", file=sys.stderr)
        return 1
    certificate = second["binding_certificate"]
    with SchannelSession(client_certificate=certificate) as session:
        authorization = f"{second['token_type']} {second['access_token']}"
        response = session.get(url, headers={"Authorization": authorization})

    checks = {
        "token type": first["token_type"] == "mtls_pop",
        "binding": verify_cnf_binding(first["access_token"], first["cert_pem"]),
        "attestation": certificate.attested,
        "cache": second["token_source"] == "cache" and second["access_token"] == first["access_token"],
        "call": response.status_code == 200 and "value" in response.json(),
    }
    stored = os.environ.get("MSI_V2_CERT_THUMBPRINT")
    if stored:
        checks["certificate store"] = is_in_store(stored)
    for check, passed in checks.items():
        print("ok    " if passed else "FAILED", check)
    return 0 if all(checks.values()) else 1


def is_in_store(thumbprint: str) -> bool:
    """Whether the user's certificate store has a certificate with a usable key."""
    try:
        with WindowsCertificate.from_store("CurrentUser/My", thumbprint=thumbprint) as certificate:
            return certificate.has_private_key
    except OSError as error:
        print(error, file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(main())
