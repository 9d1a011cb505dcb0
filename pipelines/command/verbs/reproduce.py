"""``perennial reproduce``: make the candidate of an earlier run again, and say which digits differ."""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.shared.documents.run_record import BUNDLE
from components.shared.documents.start import StartRecord
from components.shared.errors import ExitCode, InputError
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.view import View
from pipelines.images.recipes import recipe
from pipelines.runs import Run, reproduction
from pipelines.targets.protocol import RecordedInputs, RunRequest

_PIPELINES = ("training", "loop", "reproduction")
_NEEDED = {"ingestion.snapshot": "snapshot_uri", "champion.model": "champion_uri", "champion.start": "start_uri"}
_SHOWN = 20
DIFFERS = ExitCode.REJECTED
"""The exit code if anything differs."""


def reproduce(options: TargetOptions, run: str, *, with_this_code: bool) -> int:
    """Run the steps from features to verdict again on the recorded data, and compare every number.

    Args:
        options: The project and its target.
        run: The id of a run on this machine, or the beginning of one.
        with_this_code: Go on if the code of a step has changed since.

    Returns:
        0 if nothing differs, 3 if something does, otherwise the exit code of the run.

    Raises:
        InputError: If there is no such run, it did not train a model, its files are gone, or the code has changed.
    """
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    with backend.logs(run) as original:
        pass
    with tempfile.TemporaryDirectory() as study, tempfile.TemporaryDirectory() as scratch:
        request = RunRequest(
            pipeline="reproduction",
            seed=original.seed if original.seed is not None else RunRequest.seed,
            use_cache=False,
            recorded=_inputs(original, study, scratch),
        )
        _check_code(original, request, console, with_this_code=with_this_code)
        with backend.start(request, View(console)) as started:
            started.follow()
            record = started.record
    assert record.exit_code is not None
    if record.exit_code != ExitCode.OK:
        console.print(
            f"the run could not be made again: {record.reason}", style="bold red", highlight=False, markup=False
        )
        return record.exit_code
    return _show(original, record, console)


def _inputs(original: Run, study: str, scratch: str) -> RecordedInputs:
    """Return what the pipeline is called with: the recorded bundle, snapshot, champion and start of the training.

    A run from before there was another way to train began from scratch: ``scratch`` is a folder to say so in.
    """
    if original.pipeline not in _PIPELINES or "training.model" not in original.artifacts:
        raise InputError(
            f"run {original.id} of the pipeline {original.pipeline!r} trained no model (it ended as "
            f"{original.state!r}); name a run of {', '.join(map(repr, _PIPELINES[:-1]))} that did."
        )
    inputs = {parameter: original.artifacts.get(artifact, "") for artifact, parameter in _NEEDED.items()}
    if not inputs["start_uri"]:
        StartRecord(version=None).write(scratch)
        inputs["start_uri"] = scratch
    inputs["project_uri"] = str(original.outputs.get(BUNDLE, ""))
    if gone := sorted(name for name, path in inputs.items() if not path or not Path(path).exists()):
        names = [name.removesuffix("_uri") for name in gone]
        raise InputError(
            f"the files of run {original.id} are gone ({', '.join(names)}), so it cannot be made again; 'perennial gc' "
            "removes those of old runs."
        )
    return RecordedInputs(study_storage=study, **inputs)


def _check_code(original: Run, request: RunRequest, console: Console, *, with_this_code: bool) -> None:
    """Refuse if a step would run other code or packages."""
    before = original.contents
    here = {step: recipe(step).tag(None) for step in request.entry.steps}
    changed = sorted(step for step, contents in here.items() if before.get(step, contents) != contents)
    if not before:
        sentence = f"run {original.id} is from before runs recorded their code, so it may have been another."
    elif changed:
        sentence = (
            f"the code or the packages of {', '.join(changed)} are not those of run {original.id} (commit "
            f"{original.commit or 'unknown'})."
        )
    else:
        return
    if changed and not with_this_code:
        raise InputError(f"{sentence} Check that commit out, or go on with --with-this-code.")
    console.print(sentence, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _show(original: Run, again: Run, console: Console) -> int:
    compared, different = reproduction.differences(original.artifacts, again.artifacts)
    listed = ", ".join(name.replace("_", " ") for name in compared)
    if not different:
        console.print(
            f"run {original.id} is reproduced: every number in {listed} is the same, to the last digit.",
            style="bold green",
            highlight=False,
            soft_wrap=True,
        )
        return runs.OK
    table = Table("document", "value", "recorded", "again", box=None)
    for one in different[:_SHOWN]:
        table.add_row(one.document, escape(one.path), escape(str(one.before)), escape(str(one.after)))
    count = "1 value differs" if len(different) == 1 else f"{len(different):,} values differ"
    console.print(f"{count} from run {original.id}:", style="bold red", highlight=False)
    console.print(table)
    if len(different) > _SHOWN:
        console.print(f"and {len(different) - _SHOWN:,} more", highlight=False)
    return DIFFERS
