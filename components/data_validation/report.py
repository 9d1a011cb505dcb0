"""The report about a snapshot's data: one HTML file that needs no network."""

from pathlib import Path

import jinja2

from components.shared.documents.findings import ValidationFindings


def html(name: str, result: ValidationFindings) -> str:
    """Render findings and tables as they are in ``findings.json``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    return environment.get_template("report.html.j2").render(
        name=name,
        blocked=result.blocked,
        findings=result.findings,
        tables=result.tables,
        comparisons=result.comparisons,
    )


def number(value: float | None) -> str:
    """Write a number with four significant digits; nothing for None.

    >>> number(0.123456), number(12), number(1234567.0), number(None)
    ('0.1235', '12', '1,234,567', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
