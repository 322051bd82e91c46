"""Acquires one bound token, for health checks and deployment scripts.

    python -m keybound.emulator -- python msal_once.py

The exit status is 0 if the token is bound to its certificate, else 2. `RESOURCE` is the resource.
"""

import os
import sys

import keybound.msal as msal
from keybound.msal.msi_v2 import verify_cnf_binding


def main() -> int:
    """Returns the exit status."""
    resource = os.environ.get("RESOURCE", "https://graph.microsoft.com")
    client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity())
    try:
        result = client.acquire_token_for_client(resource=resource, mtls_proof_of_possession=True, with_attestation_support=True)
    except msal.MsiV2Error as error:
        print(f"no token: {error}\nnext step: {error.next_step}", file=sys.stderr)
        return 2
    if result["token_type"] != "mtls_pop" or not verify_cnf_binding(result["access_token"], result["cert_pem"]):
        print("the token is not bound to the certificate", file=sys.stderr)
        return 2
    print(f"token received for {resource}, valid for {result['expires_in']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
