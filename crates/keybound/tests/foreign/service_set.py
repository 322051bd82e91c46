"""One set of services on its own ports: its settings, and a log of its requests."""

import threading
import uuid

import api
import entra
import imds
from http1 import Server
from tokens import TokenSigner

# Variants of responses that the protocol allows and a client must accept.
FORMS = {
    "attestation-required": "no certificate without an attestation token",
    "byte-by-byte": "every byte is a separate write (and TLS record)",
    "chunked": "chunked transfer encoding with an extension and a trailer",
    "close": "each connection serves one request",
    "interim-response": "103 Early Hints before each response",
    "lower-case-headers": "header names in lower case",
    "no-reason": "no reason phrase in the status line",
    "no-scheme": "mtls_authentication_endpoint without https://",
    "other-case": "GUIDs and token_type in the other case from leg to leg",
    "path-on-endpoint": "mtls_authentication_endpoint with a path and a query, which are ignored",
    "post-handshake": "the resource requests the certificate after the HTTP request (TLS 1.3)",
    "quoted-numbers": "numbers of seconds as text",
    "refresh-in": "the token response has refresh_in",
    "scale-set": "cuId with both members; without it vmssId is empty",
    "token-endpoint": "token_endpoint with an unusual path",
    "unknown-members": "unknown members",
    "until-close": "bodies end with the connection",
    "utf8-names": "the certificate's names as UTF8String",
    "vault": "the resource is Key Vault: it requests the certificate only with x-ms-tokenboundauth",
}

class ServiceSet:
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
        self._requests = []
        self._rejections = []
        self._secrets = []

        post_handshake = "post-handshake" in forms
        self._servers = [
            Server(lambda request, _: imds.respond(self, request), self.forms),
            Server(lambda *call: entra.respond(self, *call), self.forms, self._context(host, tls)),
            Server(
                lambda *call: api.respond(self, *call),
                self.forms,
                self._context(host, tls, post_handshake),
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
        """The client id of the requested identity. Object and resource ids name the user-assigned one."""
        client_id = self.user_assigned_id if selector else self.client_id
        return client_id.upper() if "other-case" in self.forms else client_id

    def _context(self, host, tls, post_handshake=False):
        return self.pki.server_context(host, tls, self.issuer, post_handshake)

    # The log.

    def log_request(self, leg, request):
        with self._lock:
            self._requests.append({"leg": leg, "method": request.method, "target": request.target})

    def log_rejection(self, words):
        with self._lock:
            self._rejections.append(words)

    def record_secret(self, secret):
        if secret:
            with self._lock:
                self._secrets.append(secret)
        return secret

    def log(self):
        with self._lock:
            return {
                "requests": list(self._requests),
                "rejections": list(self._rejections),
                "secrets": list(self._secrets),
            }
