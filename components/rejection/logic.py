"""Log a rejected candidate, and advise which phase of the project to revisit.

The run still counts as accepted: its data passed validation, so the next data is compared with it.
"""

from collections.abc import Mapping
from pathlib import Path

from components.shared import registry
from components.shared.documents.verdict import Phase, Ruling, Verdict
from components.shared.errors import InputError
from components.shared.evidence import Candidate, finish_run, log, start_run
from components.shared.registry import Evidence

# The phases of a project in order: a problem in an early phase makes work on a later one useless.
PHASES: dict[Phase, str] = {
    "data": "Review the data: add rows, newer rows, or rows of an underrepresented segment; leave out columns that are "
    "known only after the answer.",
    "features": "Review the features: add features that separate the classes where the model fails.",
    "tuning": "Review the tuning: widen the search space, or add trials if the best trials came last.",
    "training": "Review the training: the capacity, the class weights and early stopping; see the training history.",
    "evaluation": "Review the evaluation: do the rules of the gate and the value of a decision match the goal?",
}


def reject(evidence: Evidence, registry_uri: str, code: Mapping[str, str], advice_out: Path) -> str:
    """Log a rejected candidate with the reasons, and write the advice (Markdown).

    Returns:
        The id of the run.

    Raises:
        InputError: If the verdict promotes the candidate.
    """
    candidate = Candidate.read(evidence, code)
    if candidate.verdict.promote:
        raise InputError(
            "the verdict promotes the candidate, so it cannot be rejected; expected a verdict with a failed rule."
        )
    client = registry.open(registry_uri)
    run_id = start_run(client, registry_uri, candidate, "rejected")
    text = advice(candidate.verdict)
    log(client, run_id, evidence, candidate)
    client.log_text(run_id, text, "advice.md")
    client.set_tag(run_id, "perennial.reasons", " ".join(map(_sentence, candidate.verdict.failed))[:5000])
    finish_run(client, run_id)
    advice_out.parent.mkdir(parents=True, exist_ok=True)
    advice_out.write_text(text, encoding="utf-8")
    return run_id


def advice(verdict: Verdict) -> str:
    """Write which phase to go back to: the earliest phase of a failed rule, then the others.

    >>> ruling = Ruling(rule="rule", passed=False, reason="no better than the rule of thumb", phase="features")
    >>> advice(Verdict(promote=False, first_release=True, rules=(ruling,))).splitlines()[2]
    'Go back to **features**.'
    """
    phases = [phase for phase in PHASES if any(ruling.phase == phase for ruling in verdict.failed)]
    lines = ["# Not released", "", f"Go back to **{phases[0] if phases else 'evaluation'}**.", ""]
    for phase in phases:
        lines += [f"## {phase.capitalize()}", "", PHASES[phase], ""]
        lines += [f"- `{ruling.rule}`: {_sentence(ruling)}" for ruling in verdict.failed if ruling.phase == phase]
        lines += [""]
    return "\n".join(lines)


def _sentence(ruling: Ruling) -> str:
    reason = " ".join(ruling.reason.split())
    return reason if reason.endswith((".", "?", "!")) else reason + "."
