"""What runs Feast's own tests against our store: a pytest plugin, and the module that FULL_REPO_CONFIGS_MODULE names.

Feast's test modules import clients of containers, which nothing here starts, and authorize remote stores, which ours is
not; empty modules stand for them, so that a checkout of Feast is all that is needed.
"""

import sys
from unittest.mock import MagicMock

import pytest

from components.shared.features.asof_store import AsofOfflineStoreConfig

ABSENT = (
    "minio",
    "testcontainers",
    "testcontainers.core",
    "testcontainers.core.generic",
    "testcontainers.core.waiting_utils",
    "testcontainers.minio",
    "tests.utils.auth_permissions_util",
    "tests.utils.ssl_certifcates_util",
)
AVAILABLE_ONLINE_STORES = {"sqlite": ({"type": "sqlite"}, None)}


def pytest_configure() -> None:
    """Let Feast's modules be imported without the libraries that only other stores need."""
    for name in ABSENT:
        sys.modules.setdefault(name, MagicMock())


@pytest.fixture(scope="session")
def worker_id() -> str:
    """Stand for the fixture of pytest-xdist, which numbers the projects of Feast's tests."""
    return "master"


def __getattr__(name: str) -> object:
    """Define Feast's list of stores when it is asked for: Feast's test modules can't be imported before its plugin."""
    if name != "AVAILABLE_OFFLINE_STORES":
        raise AttributeError(name)
    from tests.universal.feature_repos.universal.data_sources.file import FileDataSourceCreator

    class AsofDataSourceCreator(FileDataSourceCreator):
        def create_offline_store_config(self) -> AsofOfflineStoreConfig:
            return AsofOfflineStoreConfig()

    return [("local", AsofDataSourceCreator)]
