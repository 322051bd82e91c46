"""A bound token with the interface of `msal-msiv2`, of which only the import is another one.

Run it by `python -m keybound.emulator -- python msal_quick_start.py`.
"""

import keybound.msal as msal

client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity())
result = client.acquire_token_for_client(
    resource="https://graph.microsoft.com",
    mtls_proof_of_possession=True,
    with_attestation_support=True,
)
print("token type:", result["token_type"])
print("thumbprint:", result["cert_thumbprint_sha256"])
print(result["cert_pem"])
