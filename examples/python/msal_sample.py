"""Acquires a bound token, checks its binding, and calls Graph with it through `requests`.

    python -m keybound.emulator -- python msal_sample.py

`RESOURCE` and `RESOURCE_URL` are the resource and the URL to call; `MSI_V2_VERBOSE=1` logs each step.
"""

import logging
import os
import sys

import keybound
import keybound.msal as msal
import keybound.requests
from keybound.msal.msi_v2 import verify_cnf_binding

GRAPH = os.environ.get("KEYBOUND_EMULATOR_GRAPH", "https://mtlstb.graph.microsoft.com")


def main() -> int:
    """Returns the exit status."""
    verbose = os.environ.get("MSI_V2_VERBOSE") in ("1", "true")
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING)
    resource = os.environ.get("RESOURCE", "https://graph.microsoft.com")
    url = os.environ.get("RESOURCE_URL", f"{GRAPH}/v1.0/applications?$top=5")

    # One client for both: the call sends the token that was acquired.
    bound = keybound.ManagedIdentityClient()
    client = msal.ManagedIdentityClient(client=bound)
    try:
        result = client.acquire_token_for_client(resource=resource, mtls_proof_of_possession=True, with_attestation_support=True)
    except msal.MsiV2Error as error:
        print(f"no token: {error}", file=sys.stderr)
        return 1
    print(f"token type: {result['token_type']}, valid for {result['expires_in']} s")
    print(f"thumbprint: {result['cert_thumbprint_sha256']}")
    if not verify_cnf_binding(result["access_token"], result["cert_pem"]):
        print("the token is not bound to the certificate", file=sys.stderr)
        return 1
    print("binding: verified")

    with keybound.requests.session(keybound.BoundCalls(bound), resource) as session:
        response = session.get(url, headers={"Accept": "application/json"}, timeout=30)
    print(f"response: HTTP {response.status_code}, {len(response.content)} bytes")
    return 0 if response.ok else 1


if __name__ == "__main__":
    sys.exit(main())
