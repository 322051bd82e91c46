"""Bound calls with httpx, blocking and in coroutines: `python -m keybound.emulator -- python httpx_calls.py`.

It needs `pip install "keybound[httpx]"`.
"""

import asyncio
import os

import keybound
import keybound.httpx

VAULT = os.environ.get("KEYBOUND_EMULATOR_VAULT", "https://my-vault.vault.azure.net")
GRAPH = os.environ.get("KEYBOUND_EMULATOR_GRAPH", "https://mtlstb.graph.microsoft.com")


def read_secret(calls: keybound.BoundCalls) -> None:
    """Reads a secret."""
    with keybound.httpx.client(calls, "https://vault.azure.net") as client:
        response = client.get(f"{VAULT}/secrets/demo-secret", params={"api-version": "7.4"})
        response.raise_for_status()
        print("secret:", len(response.json()["value"]), "characters")


async def read_applications(calls: keybound.BoundCalls) -> None:
    """Reads pages of Graph at the same time."""
    async with keybound.httpx.async_client(calls, "https://graph.microsoft.com") as client:
        pages = await asyncio.gather(*(client.get(f"{GRAPH}/v1.0/applications?$top={number}") for number in (1, 2, 5)))
    print("pages:", [page.raise_for_status().status_code for page in pages])


calls = keybound.BoundCalls(keybound.ManagedIdentityClient())
read_secret(calls)
asyncio.run(read_applications(calls))
