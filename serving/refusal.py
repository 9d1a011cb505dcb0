"""A request that is not answered, for a reason that its sender can act on."""


class RequestRefused(Exception):
    """A request gets an HTTP status other than 200 and one sentence.

    Args:
        status: HTTP status; gRPC maps it to its own code.
        sentence: What is wrong, what was expected; lower case at its start.
        reason: A short constant for the error counter; serving/README.md lists them.
        retry_s: After how many seconds the client may ask again; None says nothing of that.
    """

    def __init__(self, status: int, sentence: str, reason: str, *, retry_s: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_s = retry_s
        self.status = status
        self.sentence = sentence
        self.reason = reason


def shown(value: object) -> str:
    """Name a value in a sentence: its JSON kind, and a short piece of it.

    >>> shown("a" * 100), shown([1, 2]), shown(True)
    ("text 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…'", 'a list', 'true')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"text {short(value)}"
    if isinstance(value, int | float):
        return f"number {str(value)[:40]}"
    return "a list" if isinstance(value, list) else "an object"


def short(name: object) -> str:
    """Quote at most 40 characters of a name that came from outside."""
    text = str(name)
    return repr(text if len(text) <= 40 else text[:40] + "…")
