"""Azure's client libraries for Python, unmodified, in the environment that `keybound emulator --exec` gives to a program.

usage: clients.py SOURCE READY_FILE

Each library gets tokens for each identity that it can name at this source, and the client for Key Vault reads and sets a secret
with them. Prints a line for each library: its name, version, source and identities.
"""

import base64
import json
import logging
import os
import sys
import urllib.request
from importlib.metadata import version

import msal
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

RESOURCE = "https://vault.azure.net"
SYSTEM = "5a5a5a5a-0000-4000-8000-000000000001"
USER = "5a5a5a5a-0000-4000-8000-000000000002"
USER_BY = {
    "client_id": USER,
    "object_id": "5a5a5a5a-0000-4000-8000-0000000000f2",
    "resource_id": "/subscriptions/5a5a5a5a-0000-4000-8000-0000000000aa/resourceGroups/keybound/providers/"
    "Microsoft.ManagedIdentity/userAssignedIdentities/demo",
}
UNKNOWN = "00000000-0000-4000-8000-000000000000"
# The ids by which these libraries can name an identity; None: the system-assigned one, without a name.
ANY = [None, "client_id", "object_id", "resource_id"]
IDENTITIES = {
    "imds": ANY,
    "app-service": ANY,
    "container-apps": ANY,
    "service-fabric": [None],
    "arc": ANY,
    # The service requires a client id, which these libraries send for a user-assigned identity only.
    "machine-learning": ["client_id"],
    "cloud-shell": [None],
}
LEGS = {
    "imds": {"imds-token"},
    "app-service": {"app-service"},
    "container-apps": {"app-service"},
    "service-fabric": {"service-fabric", "service-fabric-tls"},
    "arc": {"arc-challenge", "arc"},
    "machine-learning": {"machine-learning"},
    "cloud-shell": {"cloud-shell"},
}


def main():
    source, ready_file = sys.argv[1:]
    with open(ready_file, encoding="utf-8") as file:
        ready = json.load(file)
    identities = IDENTITIES[source]
    for identity in identities:
        check(azure_identity(identity).get_token(RESOURCE + "/.default").token, identity)
        if source != "cloud-shell":
            check(acquired(msal_client(identity)), identity)
    # Before the client for Key Vault makes requests to other services.
    assert set(control(ready, "/counts")["counts"]) == LEGS[source], control(ready, "/counts")
    if "client_id" in identities:
        refused(source)
    if source == "service-fabric":
        pinned(ready)
    report("azure-identity", source, identities)
    # In Cloud Shell msal has another API, which requires Entra's discovery documents.
    if source != "cloud-shell":
        report("msal", source, identities)
    key_vault(azure_identity(identities[0]))
    report("azure-keyvault-secrets", source, identities[:1])


def azure_identity(identity, value=None):
    if identity is None:
        return ManagedIdentityCredential()
    return ManagedIdentityCredential(identity_config={identity: value or USER_BY[identity]})


def msal_client(identity, value=None):
    managed_identity = (
        msal.SystemAssignedManagedIdentity()
        if identity is None
        else msal.UserAssignedManagedIdentity(**{identity: value or USER_BY[identity]})
    )
    return msal.ManagedIdentityClient(managed_identity, http_client=requests.Session())


def acquired(client):
    result = client.acquire_token_for_client(resource=RESOURCE)
    assert "access_token" in result, result
    assert result["token_type"] == "Bearer" and result["expires_in"] > 3600, result
    return result["access_token"]


def check(token, identity):
    """The token is for the resource, and of the identity that was named."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == RESOURCE, claims
    assert claims["appid"] == (SYSTEM if identity is None else USER), (identity, claims)


def refused(source):
    """An identity that the host does not have is an error of both libraries."""
    try:
        azure_identity("client_id", UNKNOWN).get_token(RESOURCE + "/.default")
    except ClientAuthenticationError:
        pass
    else:
        raise AssertionError(f"azure-identity has a token of an unknown identity at {source}")
    result = msal_client("client_id", UNKNOWN).acquire_token_for_client(resource=RESOURCE)
    assert "error" in result, result


def pinned(ready):
    """A certificate with a valid chain and another thumbprint is an error."""
    control(ready, "/faults", {"faults": ["service-fabric-tls=ca-signed-certificate"]})
    try:
        msal_client(None).acquire_token_for_client(resource=RESOURCE)
    except requests.exceptions.SSLError:
        control(ready, "/reset", {})
    else:
        raise AssertionError("msal accepts another certificate than that of the thumbprint")


def key_vault(credential):
    # The vault is a local host, not a subdomain of the resource in its challenge.
    vault = os.environ["KEYBOUND_EMULATOR_VAULT"]
    client = SecretClient(vault, credential, verify_challenge_resource=False)
    assert client.get_secret("demo-secret").value == "only the holder of the key reads this"
    client.set_secret("from-python", "set by azure-keyvault-secrets")
    assert client.get_secret("from-python").value == "set by azure-keyvault-secrets"
    assert "from-python" in [secret.name for secret in client.list_properties_of_secrets()]


def control(ready, path, body=None):
    headers = {"Authorization": "Bearer " + ready["control"]["secret"]}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ready["control"]["url"] + path, data=data, headers=headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def report(client, source, identities):
    named = ", ".join(identity or "system-assigned" for identity in identities)
    print(f"{client} {version(client)}, {source}: {named}")


# Expected errors are not logged.
logging.disable(logging.WARNING)
main()
