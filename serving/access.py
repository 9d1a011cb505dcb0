"""Who may ask: those with a bearer token from a file, which may change while the server runs.

A server on the loopback address needs none. One that listens beyond it does, unless something in front of it
authenticates, such as a gateway; whoever starts it has to say what that is.
"""

import hashlib
import hmac
import ipaddress
import logging
import os
from pathlib import Path
from typing import Protocol

from components.shared.errors import InputError
from serving.rates import Rates
from serving.refusal import RequestRefused

logger = logging.getLogger(__name__)

_SCHEME = "bearer "
_SHORTEST = 16


class Tokens:
    """The tokens that are accepted.

    Compared are hashes of equal length, in constant time, and with every token, so the time says nothing about a token.
    The file has one token a line; blank lines and lines that begin with ``#`` are ignored. It is read again when it
    changes; while it cannot be read, or holds none, the former tokens count.

    Args:
        path: The file; None is none.
        own: A further token, for the commands on this machine; None is none.

    Raises:
        InputError: If the file cannot be read, holds no token, or one that is shorter than 16 characters.
    """

    def __init__(self, path: Path | None, own: str | None = None) -> None:
        self._path, self._own = path, own
        self._stamp = _stamp(path)
        self._digests = self._read()

    def client(self, authorization: str | None) -> bytes | None:
        """Return who a header ``Authorization`` names, as the hash of an accepted token; None if it names nobody."""
        self._follow()
        token = bearer(authorization)
        if token is None:
            return None
        digest = _digest(token)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return digest if any(matches) else None

    def is_own(self, client: bytes) -> bool:
        """Return whether a client is one of the commands on this machine."""
        return self._own is not None and client == _digest(self._own)

    def _follow(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._digests = self._read()
            logger.info("%d tokens are read again from %s", len(self._digests), self._path)
        except InputError as error:
            logger.error("the former tokens go on: %s", error)

    def _read(self) -> tuple[bytes, ...]:
        own = tuple(map(_digest, filter(None, [self._own])))
        if self._path is None:
            return own
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self._path} cannot be read ({error}); expected a file with one token a line."
            ) from error
        tokens = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not tokens:
            raise InputError(f"{self._path} holds no token; expected one a line, such as from 'openssl rand -hex 32'.")
        if short := [number for number, token in enumerate(tokens, 1) if len(token) < _SHORTEST]:
            raise InputError(
                f"token {short[0]} of {self._path} has less than {_SHORTEST} characters, so it can be guessed; "
                "'openssl rand -hex 32' makes a good one."
            )
        return *map(_digest, tokens), *own


class Clients(Protocol):
    """Somebody who knows clients by their tokens."""

    def client(self, authorization: str | None) -> bytes | None:
        """Return who a header ``Authorization`` names, None if it names nobody."""


class Admission:
    """Lets clients in by their tokens, as often as each may ask.

    Args:
        tokens: Who is known by a token of a file, or is a command on this machine.
        rates: What each may ask; None sets no limit. The commands on this machine have none either.
        others: Who else knows clients; None is nobody.
    """

    def __init__(self, tokens: Tokens, rates: Rates | None = None, others: Clients | None = None) -> None:
        self._tokens, self._rates, self._others = tokens, rates, others

    def enter(self, authorization: str | None, *, how: str) -> None:
        """Let a request in.

        Args:
            authorization: The value of its header ``Authorization``, None without one.
            how: How a client sends a token, for the sentence.

        Raises:
            RequestRefused: 401 if it names no accepted token, 429 if its client has asked too much.
        """
        client = self._client(authorization)
        if client is None:
            raise RequestRefused(401, f"a valid token is needed: send {how}.", "token")
        if self._rates is not None and not self._tokens.is_own(client):
            self._rates.take(client)

    def charge(self, authorization: str | None, size: int) -> None:
        """Count the bytes of a request that was let in."""
        if self._rates is None:
            return
        client = self._client(authorization)
        if client is not None and not self._tokens.is_own(client):
            self._rates.charge(client, size)

    def _client(self, authorization: str | None) -> bytes | None:
        client = self._tokens.client(authorization)
        return self._others.client(authorization) if client is None and self._others is not None else client


def bearer(authorization: str | None) -> str | None:
    """Return the token of a header ``Authorization``, None if it has none (RFC 6750, section 2.1).

    >>> bearer("bearer abc"), bearer("Basic abc"), bearer(None)
    ('abc', None, None)
    """
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return authorization[len(_SCHEME) :].strip()


def check_exposure(host: str, *, has_tokens: bool, authenticated_by: str | None) -> None:
    """Refuse to answer anybody on a network.

    Raises:
        InputError: If the host is no loopback address, and neither tokens nor anything in front authenticate.
    """
    if has_tokens or authenticated_by or is_loopback(host):
        return
    raise InputError(
        f"on {host} the server would answer anybody who reaches it; give it tokens (--tokens FILE) or an identity "
        "provider (--oidc-issuer URL), or say with --authenticated-by what authenticates in front of it."
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.7", "example")]
    [True, True, True, False, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
