"""An answer over REST as bytes."""

from typing import NamedTuple


class RestContent(NamedTuple):
    """The body of an answer; ``json_length`` says how many of its bytes are JSON where raw tensors follow."""

    body: bytes
    json_length: int | None = None
