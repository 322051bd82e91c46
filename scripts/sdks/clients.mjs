// Azure's client libraries for Node.js, unmodified, in the environment that `keybound emulator --exec` gives to a program.
//
// usage: node clients.mjs SOURCE
//
// Each library gets tokens for each identity that it can name at this source, and the client for Key Vault reads and sets a secret
// with them. Prints a line for each library: its name, version, source and identities.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The directory in which the libraries are installed.
const installed = createRequire(`${process.env.SDK_MODULES}/`);
const { ManagedIdentityCredential } = installed("@azure/identity");
const { ManagedIdentityApplication } = installed("@azure/msal-node");
const { SecretClient } = installed("@azure/keyvault-secrets");

const RESOURCE = "https://vault.azure.net";
const SYSTEM = "5a5a5a5a-0000-4000-8000-000000000001";
const USER = "5a5a5a5a-0000-4000-8000-000000000002";
const USER_BY = {
    clientId: USER,
    objectId: "5a5a5a5a-0000-4000-8000-0000000000f2",
    resourceId:
        "/subscriptions/5a5a5a5a-0000-4000-8000-0000000000aa/resourceGroups/keybound/providers/" +
        "Microsoft.ManagedIdentity/userAssignedIdentities/demo",
};
const UNKNOWN = "00000000-0000-4000-8000-000000000000";
// The ids by which these libraries can name an identity; null: the system-assigned one, without a name.
const ANY = [null, "clientId", "objectId", "resourceId"];
const IDENTITIES = {
    imds: ANY,
    "app-service": ANY,
    "container-apps": ANY,
    "service-fabric": [null],
    arc: ANY,
    "machine-learning": [null, "clientId"],
    "cloud-shell": [null],
};

const [source] = process.argv.slice(2);
const identities = IDENTITIES[source];
for (const identity of identities) {
    const token = await azureIdentity(identity).getToken(`${RESOURCE}/.default`);
    check(token.token, identity);
    const acquired = await msalNode(identity).acquireToken({ resource: RESOURCE });
    assert.equal(acquired.fromCache, false);
    check(acquired.accessToken, identity);
}
if (identities.includes("clientId")) {
    await assert.rejects(azureIdentity("clientId", UNKNOWN).getToken(`${RESOURCE}/.default`));
    await assert.rejects(msalNode("clientId", UNKNOWN).acquireToken({ resource: RESOURCE }));
}
report("@azure/identity", identities);
report("@azure/msal-node", identities);
await keyVault(azureIdentity(identities[0]));
report("@azure/keyvault-secrets", identities.slice(0, 1));

function azureIdentity(identity, value) {
    return new ManagedIdentityCredential(identity === null ? {} : { [identity]: value ?? USER_BY[identity] });
}

function msalNode(identity, value) {
    const parameters =
        identity === null ? {} : { [`userAssigned${capitalized(identity)}`]: value ?? USER_BY[identity] };
    return new ManagedIdentityApplication({ managedIdentityIdParams: parameters });
}

function capitalized(text) {
    return text[0].toUpperCase() + text.slice(1);
}

/** The token is for the resource, and of the identity that was named. */
function check(token, identity) {
    const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
    assert.equal(claims.aud, RESOURCE);
    assert.equal(claims.appid, identity === null ? SYSTEM : USER);
}

async function keyVault(credential) {
    // The vault is a local host, not a subdomain of the resource in its challenge.
    const options = { disableChallengeResourceVerification: true };
    const client = new SecretClient(process.env.KEYBOUND_EMULATOR_VAULT, credential, options);
    const secret = await client.getSecret("demo-secret");
    assert.equal(secret.value, "only the holder of the key reads this");
    await client.setSecret("from-node", "set by @azure/keyvault-secrets");
    assert.equal((await client.getSecret("from-node")).value, "set by @azure/keyvault-secrets");
}

function report(client, identities) {
    const { version } = installed(`${client}/package.json`);
    const named = identities.map((identity) => identity ?? "system-assigned").join(", ");
    console.log(`${client} ${version}, ${source}: ${named}`);
}
