"""Which secrets of the command's environment a step on this machine may see."""

from collections.abc import Mapping
from types import MappingProxyType

from components.shared.package.integrity import SIGNING_KEY

_ONLY_FOR: Mapping[str, str] = MappingProxyType({SIGNING_KEY: "registration"})
"""Variable to the one step that needs it."""


def visible(step: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the secrets of other steps.

    >>> visible("ingestion", {"PERENNIAL_SIGNING_KEY": "key.pem", "HOME": "/home"})
    {'HOME': '/home'}
    >>> visible("registration", {"PERENNIAL_SIGNING_KEY": "key.pem"})
    {'PERENNIAL_SIGNING_KEY': 'key.pem'}
    """
    return {name: value for name, value in environment.items() if _ONLY_FOR.get(name, step) == step}
