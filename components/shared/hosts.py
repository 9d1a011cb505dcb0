"""Addresses of hosts."""


def bracketed(host: str) -> str:
    """Write a host as a URL needs it in front of a port.

    >>> bracketed("::1"), bracketed("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host
