"""Keys, certificate and JWTs, made anew for each run with openssl: no private key stands in the repository."""

import base64
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

USERS = 1000
ISSUER = "https://idp.bench.example/"
AUDIENCE = "bench"


@dataclass(frozen=True)
class Tokens:
    good: list[str]
    """One valid token for each user."""
    bad: dict[str, str]
    """What must be refused, by what is wrong with it."""


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


def make_keys(folder: Path) -> None:
    """RSA 2048 for the tokens (what identity providers use), P-256 for TLS (what certificates use today)."""
    for name in ("jwt", "other"):
        openssl("genrsa", "-out", str(folder / f"{name}.key"), "2048")
    openssl("rsa", "-in", str(folder / "jwt.key"), "-pubout", "-out", str(folder / "jwt.pub"))
    modulus = openssl("rsa", "-in", str(folder / "jwt.key"), "-noout", "-modulus").strip().partition("=")[2]
    key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "bench", "e": "AQAB", "n": encode(bytes.fromhex(modulus))}
    (folder / "jwks.json").write_text(json.dumps({"keys": [key]}))
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"),
    )  # fmt: skip
    # HAProxy takes both in one file.
    (folder / "tls.pem").write_text((folder / "tls.crt").read_text() + (folder / "tls.key").read_text())


def make_tokens(folder: Path) -> Tokens:
    now = int(time.time())
    good = sign(folder, "jwt", [claims(user, now + 86400) for user in range(USERS)])
    expired = sign(folder, "jwt", [claims(0, now - 3600)])[0]
    forged = sign(folder, "other", [claims(0, now + 86400)])[0]
    head, _, signature = good[0].split(".")
    changed = ".".join((head, encode(json.dumps(claims(1, now + 86400)).encode()), signature))
    bad = {"expired": expired, "signed by another key": forged, "changed after signing": changed, "no JWT": "abc"}
    return Tokens(good, bad)


def claims(user: int, expires: int) -> dict[str, object]:
    """What tokens commonly carry, about 300 bytes."""
    return {
        "iss": ISSUER, "aud": AUDIENCE, "sub": f"user-{user}", "iat": expires - 90000, "exp": expires,
        "scope": "orders:read orders:write", "email": f"user-{user}@bench.example",
    }  # fmt: skip


def sign(folder: Path, key: str, payloads: list[dict[str, object]]) -> list[str]:
    """RS256. One openssl process a token, four at a time: it signs one message a call."""
    head = encode(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "bench"}).encode())
    tokens = []
    for start in range(0, len(payloads), 4):
        running = []
        for payload in payloads[start : start + 4]:
            message = f"{head}.{encode(json.dumps(payload).encode())}"
            process = subprocess.Popen(
                ["openssl", "dgst", "-sha256", "-sign", str(folder / f"{key}.key")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            running.append((message, process))
        for message, process in running:
            signature, _ = process.communicate(message.encode())
            if process.returncode:
                raise RuntimeError("openssl could not sign")
            tokens.append(f"{message}.{encode(signature)}")
    return tokens


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
