"""Load the project's Feast repository, and list the views and columns that a feature service needs."""

import importlib.util
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig
from feast.value_type import ValueType

from components.shared.documents.feature_views import FeatureViewFacts, FeatureViews
from components.shared.errors import InputError
from components.shared.features.asof_store import AsofOfflineStoreConfig
from components.shared.features.snapshot import require
from components.shared.project import Project

_INTEGERS = (ValueType.INT32, ValueType.INT64)
PERIOD = "period"
"""Tag of a feature view that is computed period by period."""


@dataclass(frozen=True)
class ViewSpec:
    """The part of a feature view that a feature service needs."""

    name: str
    path: str
    """Parquet file of its rows, relative to the repository."""
    entity: str
    time: str
    created: str | None
    features: tuple[str, ...]
    ttl: timedelta
    """How long a row is valid; 0 means no limit."""
    period: str | None = None
    """The interval that one run of its SQL computes; None if one run computes all rows."""


def open_store(repo: Path) -> FeatureStore:
    """Open the store that ``feature_store.yaml`` describes.

    Raises:
        InputError: If the file is absent or names an offline store that drops rows.
    """
    if not (repo / "feature_store.yaml").is_file():
        raise InputError("feature_repo/feature_store.yaml does not exist; expected Feast's settings. Create the file.")
    store = FeatureStore(repo_path=str(repo))
    kind = getattr(store.config.offline_store, "type", None)
    if kind in ("file", "dask", None):
        raise InputError(
            f"feature_repo/feature_store.yaml has the offline store {kind!r}, which silently drops rows of a "
            "training set; expected 'duckdb'. Set offline_store: {type: duckdb}."
        )
    return _with_asof_join(store) if kind == "duckdb" else store


def _with_asof_join(store: FeatureStore) -> FeatureStore:
    """Let Feast's DuckDB store join as ours does: the same answers, many times faster."""
    settings = store.config.offline_store.model_dump(exclude={"type"})
    config = store.config.model_dump(exclude={"offline_config", "repo_path"}, by_alias=True)
    ours = AsofOfflineStoreConfig(**settings).model_dump()
    return FeatureStore(config=RepoConfig(**config, offline_store=ours, repo_path=store.repo_path))


def load(repo: Path) -> list[Any]:
    """Collect the Feast objects that ``features.py`` defines.

    Raises:
        InputError: If the file is absent or raises an exception.
    """
    path = repo / "features.py"
    if not path.is_file():
        raise InputError("feature_repo/features.py does not exist; expected entities, views and services. Create it.")
    spec = importlib.util.spec_from_file_location("feature_repo_features", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"feature_repo/features.py fails: {type(error).__name__}: {reason}. Correct it.") from error
    kinds = (Entity, FeatureView, FeatureService, DataSource)
    return list({id(value): value for value in vars(module).values() if isinstance(value, kinds)}.values())


def views(objects: list[Any], project: Project) -> list[ViewSpec]:
    """List the views and columns that the project's feature service consists of, in the service's order.

    Raises:
        InputError: If the service is unknown, lacks a feature of the project file, contains the entity, event time or
            label, reads sources other than files, or has a view or an entity that is not a name of features.py, such
            as an on-demand view.
    """
    services = {item.name: item for item in objects if isinstance(item, FeatureService)}
    require(project.features.service, list(services), "feature_repo/features.py", "the feature service")
    feature_views = {item.name: item for item in objects if isinstance(item, FeatureView)}
    entities = {item.name: item for item in objects if isinstance(item, Entity)}
    specs = []
    for projection in services[project.features.service].feature_view_projections:
        view = feature_views.get(projection.name)
        if view is None:
            raise InputError(
                f"the feature service {project.features.service!r} takes features from {projection.name!r}, which is "
                f"none of the feature views {sorted(feature_views)}; an on-demand view is computed by no step. Write "
                "its expression as SQL, feature_repo/sql/<view>.sql, and give features.py a FeatureView of it."
            )
        if unnamed := [name for name in view.entities if name not in entities]:
            raise InputError(
                f"the feature view {view.name!r} has the entities {unnamed}; expected those of features.py, "
                f"{sorted(entities)}. Give the view the project's entity, as a variable at the top of the file."
            )
        specs.append(_view(view, [entities[name].join_key for name in view.entities], projection, project))
    _check(specs, project)
    return specs


def _view(view: FeatureView, keys: list[str], projection: Any, project: Project) -> ViewSpec:
    source = view.batch_source
    if not isinstance(source, FileSource):
        raise InputError(
            f"the feature view {view.name!r} reads {type(source).__name__}; expected a FileSource "
            f"with the path data/{view.name}.parquet. Correct the view in features.py."
        )
    if not projection.features:
        raise InputError(
            f"the feature view {view.name!r} declares no features; expected a schema with a Field per feature. "
            "Add the schema in features.py."
        )
    if keys != [project.entity]:
        raise InputError(
            f"the feature view {view.name!r} has the join keys {keys}; expected only the project's entity "
            f"{project.entity!r}. Correct the view's entities in features.py."
        )
    return ViewSpec(
        name=view.name,
        path=source.path,
        entity=project.entity,
        time=source.timestamp_field,
        created=source.created_timestamp_column or None,
        features=tuple(field.name for field in projection.features if field.name != project.entity),
        ttl=view.ttl or timedelta(0),
        period=view.tags.get(PERIOD),
    )


def facts(objects: list[Any], project: Project) -> FeatureViews:
    """Return what a model server must know of the views to look features up; raises as ``views`` does."""
    whole = {item.join_key: item.value_type in _INTEGERS for item in objects if isinstance(item, Entity)}
    return FeatureViews(
        join_key=project.entity,
        entity_type="integer" if whole.get(project.entity) else "text",
        views=tuple(
            FeatureViewFacts(name=view.name, features=view.features, ttl_s=view.ttl.total_seconds())
            for view in views(objects, project)
        ),
    )


def _check(specs: list[ViewSpec], project: Project) -> None:
    delivered = [name for view in specs for name in view.features]
    service = f"the feature service {project.features.service!r}"
    for name in project.features.columns:
        require(name, delivered, service, "the feature")
    duplicates = sorted({name for name in delivered if delivered.count(name) > 1})
    if duplicates:
        raise InputError(
            f"the feature {duplicates[0]!r} is in two views of {service}; expected unique names. Rename one of them."
        )
    for name in (project.entity, project.event_time, project.label.column):
        if name in delivered:
            raise InputError(
                f"{name!r} is a feature of {service}; the project's entity, event time and label cannot be features. "
                "Remove it from the feature view."
            )
