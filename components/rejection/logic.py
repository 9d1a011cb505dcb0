"""Keep what a rejected candidate showed, and say where to go on.

The run counts as accepted for the data's sake: its tables passed validation, so the next tables are compared with them.
"""

from collections.abc import Mapping
from pathlib import Path

from components.shared import registry
from components.shared.documents.verdict import Phase, Ruling, Verdict
from components.shared.errors import InputError
from components.shared.evidence import Candidate, finish_run, log, start_run
from components.shared.registry import Evidence

# The phases of a project, the earliest first: what was wrong early makes work on what comes later useless.
PHASES: dict[Phase, str] = {
    "data": "Look at the data: more rows, fresher rows, or the segment that is underrepresented.",
    "features": "Look at the features: declare some that tell the answers apart where the model fails.",
    "tuning": "Look at the tuning: a wider search space, or more trials if the best ones came last.",
    "training": "Look at the training: capacity, class weights and the stopping rule; see what the history lacks.",
    "evaluation": "Look at the evaluation: do the rules of the gate and the value of a decision say what is wanted?",
}


def reject(evidence: Evidence, registry_uri: str, code: Mapping[str, str], advice_out: Path) -> str:
    """Log a rejected candidate, with its reasons, and write the advice (Markdown).

    Returns:
        The id of the run.

    Raises:
        InputError: If the verdict promotes the candidate.
    """
    candidate = Candidate.read(evidence, code)
    if candidate.verdict.promote:
        raise InputError("The verdict promotes the candidate, so it can't be rejected; expected a rule that failed.")
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
    """Say which phase to go back to: the earliest that a failed rule names, then the others.

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
