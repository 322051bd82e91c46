"""Tests a host from end to end: type, binding and cache of a token, and a call of a vault or another resource.

    python -m keybound.emulator -- python msal_end_to_end.py

`MSI_V2_VAULT_URL` and `MSI_V2_SECRET_NAME` select the secret; `MSI_V2_RESOURCE` and `MSI_V2_DOWNSTREAM_URL` another resource and
the URL to call. `MSI_V2_CLIENT_ID` selects a user-assigned identity. The exit status is 0 if all checks pass.
"""

import os
import sys

from keybound.key_attestation import create_attestation_provider
from keybound.msal import MsiV2Error, SystemAssignedManagedIdentity, UserAssignedManagedIdentity
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
    for check, passed in checks.items():
        print("ok    " if passed else "FAILED", check)
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
