"""Reads a secret of a vault with a bound token: `python -m keybound.emulator -- python six_lines.py`."""

import os

import keybound

vault_url = os.environ.get("KEYBOUND_EMULATOR_VAULT", "https://my-vault.vault.azure.net")
client = keybound.ManagedIdentityClient()
vault = client.resource("https://vault.azure.net")
secret = vault.get(f"{vault_url}/secrets/demo-secret?api-version=7.4").raise_for_status().json()
print(len(secret["value"]), "characters")
