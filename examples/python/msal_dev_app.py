"""Acquires a bound token and calls a vault with it through a `SchannelSession`.

    python -m keybound.emulator -- python msal_dev_app.py

`RESOURCE` and `DOWNSTREAM_URL` are the resource and the URL to call; `UAMI_CLIENT_ID` selects a user-assigned identity.
"""

import os
import sys

import keybound.msal as msal
from keybound.msal.msi_v2 import verify_cnf_binding
from keybound.schannel_transport import SchannelSession

VAULT = os.environ.get("KEYBOUND_EMULATOR_VAULT", "https://my-vault.vault.azure.net")


def main() -> int:
    """Returns the exit status."""
    resource = os.environ.get("RESOURCE", "https://vault.azure.net")
    url = os.environ.get("DOWNSTREAM_URL", f"{VAULT}/secrets/demo-secret?api-version=7.4")
    client_id = os.environ.get("UAMI_CLIENT_ID")
    identity = msal.UserAssignedManagedIdentity(client_id=client_id) if client_id else msal.SystemAssignedManagedIdentity()

    client = msal.ManagedIdentityClient(identity)
    try:
        result = client.acquire_token_for_client(resource=resource, mtls_proof_of_possession=True, with_attestation_support=True)
    except msal.MsiV2Error as error:
        print(f"no token: {error}", file=sys.stderr)
        return 1

    with result["binding_certificate"] as certificate:
        print(f"certificate: {certificate.subject}, valid until {certificate.not_after:%Y-%m-%d}")
        print(f"  SHA-1 {certificate.thumbprint_sha1}")
        print(f"  x5t#S256 {certificate.x5t_s256}")
        is_bound = verify_cnf_binding(result["access_token"], certificate.public_certificate_pem)
        print("binding:", "verified" if is_bound else "FAILED")
        if not is_bound:
            return 1
        with SchannelSession(client_certificate=certificate) as session:
            authorization = f"{result['token_type']} {result['access_token']}"
            response = session.get(url, headers={"Authorization": authorization})
    print(f"response: HTTP {response.status_code}, members: {', '.join(sorted(response.json()))}")
    return 0 if response.status_code == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
