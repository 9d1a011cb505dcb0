"""The parse tree of a query, as DuckDB gives it."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb


def parts(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Return every object of the tree; none if the query cannot be parsed."""
    [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    return list(objects(json.loads(text)))


def tables(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    """Return the names that a query selects from: tables, views, and its own named subqueries."""
    return {part["table_name"] for part in parts(connection, query) if part.get("type") == "BASE_TABLE"}


def objects(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON tree."""
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from objects(child)
