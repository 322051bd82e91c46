"""The Azure SDK's client for Key Vault with bound tokens: `python -m keybound.emulator -- python azure_sdk.py`.

It needs `pip install "keybound[azure]" azure-keyvault-secrets`.
"""

import os

from azure.keyvault.secrets import SecretClient

import keybound
import keybound.azure

VAULT = os.environ.get("KEYBOUND_EMULATOR_VAULT")

calls = keybound.BoundCalls(keybound.ManagedIdentityClient())
with SecretClient(
    VAULT or "https://my-vault.vault.azure.net",
    keybound.azure.credential(calls),
    transport=keybound.azure.transport(calls),
    # The vault of the emulator is on loopback, which is not in the domain of Key Vault.
    verify_challenge_resource=VAULT is None,
) as secrets:
    secrets.set_secret("greeting", "hello")
    secret = secrets.get_secret("greeting")
    print(secret.name, "has", len(secret.value or ""), "characters")
    print("secrets:", ", ".join(sorted(str(found.name) for found in secrets.list_properties_of_secrets())))
