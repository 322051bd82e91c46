"""A service that calls a vault for its own callers.

    pip install keybound flask gunicorn
    python -m keybound.emulator -- gunicorn --preload --workers 2 flask_service:app
    curl http://127.0.0.1:8000/secrets/demo-secret

One client serves all requests and threads. Each worker of gunicorn has its own key and certificate, also with `--preload`.
"""

import os

from flask import Flask, abort

import keybound

VAULT = os.environ.get("KEYBOUND_EMULATOR_VAULT", "https://my-vault.vault.azure.net")

app = Flask(__name__)
vault = keybound.ManagedIdentityClient().resource("https://vault.azure.net", timeout=10)


@app.get("/secrets/<name>")
def length_of_secret(name: str) -> dict[str, object]:
    """The length of a secret; the secret itself stays here."""
    if not name.replace("-", "").isalnum():
        abort(400)
    with vault.get(f"{VAULT}/secrets/{name}", params={"api-version": "7.4"}) as response:
        if response.status_code == 404:
            abort(404)
        secret = response.raise_for_status().json()
    return {"name": name, "characters": len(secret["value"])}


@app.errorhandler(keybound.KeyboundError)
def on_error(error: keybound.KeyboundError) -> tuple[dict[str, str], int]:
    """Responds 503 if a retry can help, else 502. The log has the details."""
    app.logger.warning("vault: %s (%s)", error, error.code)
    return {"error": error.code}, 503 if error.retryable else 502
