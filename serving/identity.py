"""Who may ask: the signed tokens (JWT, RFC 7519) of an OpenID Connect provider.

The provider's public keys (JWKS, RFC 7517) are in a file, or are fetched from where its discovery document says. No
request waits for the provider: a thread of its own fetches the keys again and again, and earlier once a token names a
key that is not among them.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt

from components.shared.errors import InputError, PerennialError, StepFailed
from serving.access import bearer, is_loopback

logger = logging.getLogger(__name__)

# Signatures by a key pair only: with a shared secret, whoever checks a token could make one.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_REFRESH_S, _PAUSE_S, _TIMEOUT_S = 300.0, 30.0, 5.0
_LEEWAY_S = 30.0
"""How far the clocks of provider and server may differ."""
_REMEMBERED = 4096

Keys = Mapping[str | None, jwt.PyJWK]
"""Public keys by their ids; a key without one is under None."""


class Provider:
    """The keys of a provider, which may change while the server runs.

    Args:
        read: Returns the present keys; raises PerennialError if that fails, and then the former ones count.
        refresh_s: Pause between two looks.
        pause_s: Shortest pause, whatever tokens name.
        timer_s: A monotonic clock in seconds.

    Raises:
        PerennialError: If there are no keys to begin with.
    """

    def __init__(
        self,
        read: Callable[[], Keys],
        *,
        refresh_s: float = _REFRESH_S,
        pause_s: float = _PAUSE_S,
        timer_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._refresh_s, self._pause_s, self._timer_s = read, refresh_s, pause_s, timer_s
        self.keys, self._looked_s = read(), timer_s()
        """The present ones; replaced as a whole."""
        self._wanted = threading.Event()
        threading.Thread(target=self._refresh, name="keys", daemon=True).start()

    def key(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return a key, None if it is not known; another look is taken soon then."""
        keys = self.keys
        key = keys.get(key_id)
        if key is None and key_id is None and len(keys) == 1:
            [key] = keys.values()
        if key is None:
            self._wanted.set()
        return key

    def _refresh(self) -> None:
        while True:
            self._wanted.wait(self._refresh_s)
            time.sleep(max(0.0, self._looked_s + self._pause_s - self._timer_s()))
            self._wanted.clear()
            try:
                read = self._read()
                # Tokens are checked again only where the keys have changed.
                if {name: key.key for name, key in read.items()} != {n: key.key for n, key in self.keys.items()}:
                    self.keys = read
            except PerennialError as error:
                logger.error("keeping the previous keys: %s", error)
            except Exception:
                # Without this thread, no new key would ever count.
                logger.exception("keeping the previous keys, because reading them failed unexpectedly")
            self._looked_s = self._timer_s()


class Identities:
    """Clients that a provider's tokens name.

    A token is checked once, and known by its hash until it expires.

    Args:
        provider: Whose signatures count.
        issuer: What ``iss`` must be.
        audience: What ``aud`` must be or contain: this server, by the name that the provider has for it.
        now_s: Seconds since 1970.
    """

    def __init__(
        self, provider: Provider, issuer: str, audience: str, *, now_s: Callable[[], float] = time.time
    ) -> None:
        self._provider, self._issuer, self._audience, self._now_s = provider, issuer, audience, now_s
        self._checked: dict[bytes, _Checked] = {}

    def client(self, authorization: str | None) -> bytes | None:
        """Return whom a header ``Authorization`` names, as a hash of issuer and subject; None if it names nobody."""
        token = bearer(authorization)
        if token is None:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        checked = self._checked.get(digest)
        if checked is None or self._now_s() >= checked.expires_s or self._provider.keys is not checked.keys:
            self._checked.pop(digest, None)
            checked = self._check(token)
            if checked is None:
                return None
            if len(self._checked) >= _REMEMBERED:
                self._checked.clear()
            self._checked[digest] = checked
        return checked.client

    def _check(self, token: str) -> "_Checked | None":
        """Return whom a valid token names, None for any other."""
        try:
            keys = self._provider.keys
            key = self._provider.key(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                return None
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        client = hashlib.sha256(f"{self._issuer}\0{claims['sub']}".encode()).digest()
        return _Checked(float(claims["exp"]), client, keys)


class _Checked(NamedTuple):
    """A valid token: when it ends, whom it names, and the keys that it was checked with, of which one signed it."""

    expires_s: float
    client: bytes
    keys: Keys


def keys_of_file(path: Path) -> Keys:
    """Read keys from a file.

    Raises:
        InputError: If it cannot be read, or has none.
    """
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); expected a JSON Web Key Set.") from error


def keys_of_provider(issuer: str) -> Keys:
    """Fetch the keys of a provider, as its discovery document says (OpenID Connect Discovery 1.0, section 4).

    Raises:
        InputError: If the address is not https, or the document is another provider's.
        StepFailed: If the provider does not answer.
    """
    discovery = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    document = _fetch(discovery)
    try:
        content = json.loads(document)
        named, address = content["issuer"], content["jwks_uri"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{discovery} is not a discovery document ({error!r}); correct the issuer.") from error
    if named != issuer:
        raise InputError(f"{discovery} names the issuer {named!r}, expected {issuer!r}; correct the issuer.")
    return parse(_fetch(str(address)), str(address))


def parse(content: bytes, origin: str) -> Keys:
    """Read a JSON Web Key Set; keys that make no signatures known here are left out.

    Raises:
        InputError: If it is none, or no key is left.
    """
    try:
        described = json.loads(content)["keys"]
        keys = [key for each in described if each.get("kty") != "oct" if (key := _key(each)) is not None]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{origin} is no JSON Web Key Set ({error!r}).") from error
    if not keys:
        raise InputError(f"{origin} has no key for signatures; expected one of {', '.join(_ALGORITHMS)}.")
    return {key.key_id: key for key in keys}


def _key(described: Mapping[str, Any]) -> jwt.PyJWK | None:
    """Read a key; None for one that makes no signatures, or none that are known here."""
    try:
        key = jwt.PyJWK(dict(described))
    except jwt.PyJWTError:
        return None
    is_usable = key.algorithm_name in _ALGORITHMS and key.public_key_use != "enc"
    return key if is_usable and isinstance(key.key_id, str | None) else None


def _fetch(url: str) -> bytes:
    _check_protected(url)
    try:
        with build_opener(_Redirects).open(url, timeout=_TIMEOUT_S) as answer:
            return bytes(answer.read(2**20))
    except (OSError, ValueError, HTTPException) as error:
        raise StepFailed(f"{url} does not answer ({error}); the identity provider must be reachable.") from error


def _check_protected(url: str) -> None:
    address = urlsplit(url)
    if address.scheme != "https" and not (address.scheme == "http" and is_loopback(address.hostname or "")):
        raise InputError(f"{url} is not https; keys that anybody on the way can replace prove nothing.")


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to protected addresses only."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """Check where a redirect leads."""
        _check_protected(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
