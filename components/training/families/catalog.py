"""The entry of each model family, by the name that a project file uses."""

from collections.abc import Mapping
from types import MappingProxyType

from components.training.families import network, plain
from components.training.families.family import Family

FAMILIES: Mapping[str, Family] = MappingProxyType({"plain": plain.fit, "network": network.fit})
