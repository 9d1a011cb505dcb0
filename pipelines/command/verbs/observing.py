"""``perennial rules`` and ``perennial dashboard``: what Prometheus and Grafana need."""

from pathlib import Path

import click
import yaml

from components.shared.project import Project
from pipelines.command.options import TargetOptions
from pipelines.images import environments
from pipelines.images.overlays import INFRA
from pipelines.observability import dashboard
from pipelines.observability import rules as project_rules
from pipelines.project import project_file

GOLDEN = INFRA / "observability"


def print_rules(options: TargetOptions, *, kubernetes: bool) -> None:
    """Print the alert rules of the project's promises: a rule file, or a resource of the Prometheus operator."""
    click.echo(_rules(options.open().project, kubernetes=kubernetes), nl=False)


def print_dashboard() -> None:
    """Print the dashboard as Grafana imports it."""
    click.echo(dashboard.text(), nl=False)


def golden() -> dict[Path, str]:
    """Return the content of the committed files: the shipped example's rules, and the dashboard of any model."""
    example = project_file.read(environments.ROOT / project_file.FILE_NAME)
    return {
        GOLDEN / "rules.yaml": _rules(example, kubernetes=False),
        GOLDEN / "dashboard.json": dashboard.text(),
    }


def _rules(project: Project, *, kubernetes: bool) -> str:
    made = project_rules.resource(project) if kubernetes else project_rules.rules(project)
    return yaml.safe_dump(made, sort_keys=False, width=200)
