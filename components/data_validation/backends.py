"""The libraries that the project file can choose for data validation."""

from components.data_validation.contract import ValidationBackend
from components.shared.project import ValidationLibrary


def open_backend(name: ValidationLibrary) -> ValidationBackend:
    """Return the library of a name; its packages have to be installed."""
    if name == "tfdv":
        from components.data_validation.tfdv.backend import TfdvBackend

        return TfdvBackend()
    from components.data_validation.duckdb.backend import DuckdbBackend

    return DuckdbBackend()
