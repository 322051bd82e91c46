"""One set of services with ports of its own: what it answers, how, and what was asked of it."""

import json
import string
import threading
import uuid

import api
import entra
import imds
from http1 import Answer, Server
from tokens import TokenSigner

# Ways to answer that the protocol allows and that a client must take.
FORMS = {
    "attestation-required": "no certificate without an attestation token",
    "byte-by-byte": "every byte is a write (and a TLS record) of its own",
    "chunked": "chunked transfer encoding with an extension and a trailer",
    "close": "each connection serves one request",
    "interim-answer": "103 Early Hints before each answer",
    "lower-case-headers": "header names in lower case",
    "no-reason": "no reason phrase in the status line",
    "no-scheme": "mtls_authentication_endpoint without https://",
    "other-case": "letters of GUIDs and of token_type in the other case from leg to leg",
    "path-on-endpoint": "mtls_authentication_endpoint with a path and a query, which do not count",
    "post-handshake": "the resource asks for the certificate after the request (TLS 1.3)",
    "quoted-numbers": "numbers of seconds as text",
    "refresh-in": "the token answer says when to renew",
    "scale-set": "cuId with both members; without it vmssId is empty",
    "token-endpoint": "token_endpoint with another path than the usual one",
    "unknown-members": "members that this version does not know",
    "until-close": "bodies end with the connection",
    "utf8-names": "the certificate's names as UTF8String",
    "vault": "the resource is Key Vault's: the certificate is asked for at x-ms-tokenboundauth",
}
LEGS = ("metadata", "credential", "token", "resource")
FAULTS = {
    "status",
    "headers",
    "set",
    "body",
    "body_bytes",
    "breaks",
    "certificate",
    "claims",
    "tls",
}


class World:
    def __init__(self, pki, forms=(), tls="1.3", host="localhost", issuer="ec"):
        unknown = set(forms) - FORMS.keys()
        if unknown:
            raise ValueError(f"unknown forms {sorted(unknown)}")
        if tls not in ("1.2", "1.3") or issuer not in ("ec", "rsa"):
            raise ValueError(f"unknown version or issuer {tls} {issuer}")
        self.pki = pki
        self.forms = frozenset(forms)
        self.issuer = issuer
        self.signer = TokenSigner()
        self.client_id, self.user_assigned_id, self.tenant_id = (
            str(uuid.uuid4()) for _ in range(3)
        )
        scale_set = str(uuid.uuid4()) if "scale-set" in forms else ""
        self.cu_id = {"vmId": str(uuid.uuid4()), "vmssId": scale_set}
        self._lock = threading.Lock()
        self._faults = {}
        self._requests = []
        self._refusals = []
        self._secrets = []
        self._connections = []

        def context(leg, post_handshake=False):
            return lambda: self._context(leg, host, tls, post_handshake)

        post_handshake = "post-handshake" in forms
        self._servers = [
            Server(self._keeping(lambda request, _: imds.respond(self, request)), self.forms),
            Server(
                self._keeping(lambda *call: entra.respond(self, *call)), self.forms, context("token")
            ),
            Server(
                self._keeping(lambda *call: api.respond(self, *call)),
                self.forms,
                context("resource", post_handshake),
            ),
        ]
        ports = [server.port for server in self._servers]
        self.imds_origin = f"http://127.0.0.1:{ports[0]}"
        self.token_origin = f"https://{host}:{ports[1]}"
        self.resource_origin = f"https://{host}:{ports[2]}"
        self.audience = "https://vault.azure.net" if "vault" in forms else "https://foreign.example"

    @property
    def token_path(self):
        end = "token/elsewhere" if "token-endpoint" in self.forms else "token"
        return f"/{self.tenant_id}/oauth2/v2.0/{end}"

    def describe(self):
        return {
            "imds": self.imds_origin,
            "token": self.token_origin,
            "resource": self.resource_origin,
            "audience": self.audience,
            "client_id": self.client_id,
            "user_assigned_id": self.user_assigned_id,
            "tenant_id": self.tenant_id,
        }

    def close(self):
        for server in self._servers:
            server.close()

    def client_id_of(self, selector):
        """The identity asked for. Object and resource ids name the user-assigned one."""
        client_id = self.user_assigned_id if selector else self.client_id
        return client_id.upper() if "other-case" in self.forms else client_id

    # What goes wrong.

    def set_fault(self, leg, fault):
        """Spoils the answers of a leg from now on; `None` heals it."""
        if leg not in LEGS or set(fault or {}) - FAULTS:
            raise ValueError(f"unknown fault {leg}: {fault}")
        with self._lock:
            self._faults[leg] = fault or {}

    def fault(self, leg):
        with self._lock:
            return self._faults.get(leg, {})

    def spoil(self, leg, answer, substitutes):
        """The answer with the leg's fault in it; `$name` in its texts stands for what this conversation holds."""
        fault = self.fault(leg)
        if not fault:
            return answer
        names = {
            "resource": self.resource_origin,
            "other_guid": str(uuid.uuid4()),
            "long": "x" * 2_000_000,
            **substitutes,
        }

        def fill(value):
            if isinstance(value, str):
                return string.Template(value).safe_substitute(names)
            if isinstance(value, dict):
                return {fill(name): fill(member) for name, member in value.items()}
            return value

        if "set" in fault:
            answer = changed_members(answer, fill(fault["set"]))
        headers = {**answer.headers, **fill(fault.get("headers", {}))}
        body = fill(fault["body"]).encode() if "body" in fault else answer.body
        return Answer(
            fault.get("status", answer.status),
            {name: value for name, value in headers.items() if value is not None},
            b" " * fault["body_bytes"] if "body_bytes" in fault else body,
            fault.get("breaks"),
        )

    def _context(self, leg, host, tls, post_handshake):
        fault = self.fault(leg).get("tls")
        if fault == "reset":
            return fault
        return self.pki.server_context(host, tls, self.issuer, fault, post_handshake)

    # What was asked, and what was given out.

    def note(self, leg, request):
        with self._lock:
            self._requests.append({"leg": leg, "method": request.method, "target": request.target})

    def note_refusal(self, words):
        with self._lock:
            self._refusals.append(words)

    def keep_secret(self, secret):
        if secret:
            with self._lock:
                self._secrets.append(secret)
        return secret

    def log(self):
        with self._lock:
            return {
                "requests": list(self._requests),
                "refusals": list(self._refusals),
                "secrets": list(self._secrets),
                "connections": len(self._connections),
                "sent": max((connection.sent for connection in self._connections), default=0),
            }

    def _keeping(self, respond):
        """Records the connections that were answered on."""

        def kept(request, connection):
            with self._lock:
                if connection not in self._connections:
                    self._connections.append(connection)
            return respond(request, connection)

        return kept


def changed_members(answer, changes):
    value = {**json.loads(answer.body), **changes}
    value = {name: member for name, member in value.items() if member is not None}
    return Answer.of_json(answer.status, value, answer.headers)
