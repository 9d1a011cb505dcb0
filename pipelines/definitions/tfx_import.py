"""Make a model package of a SavedModel: in the virtualenv of the step that trains with TFX.

Arguments: a file with the project as JSON, the SavedModel's folder, the folder of a split, the package's folder, the
signature, and the output of the signature ("" if it has one only).
"""

import sys
from pathlib import Path

from components.shared.errors import PerennialError
from components.shared.project import Project


def main(arguments: list[str]) -> int:
    """Write the package, and return the exit code."""
    project_json, saved_model, splits, out, signature, output = arguments
    project = Project.model_validate_json(Path(project_json).read_text(encoding="utf-8"))
    from components.tfx_training import package

    try:
        package.write(project, Path(saved_model), Path(splits), Path(out), signature, output or None)
    except PerennialError as problem:
        sys.stderr.write(f"{problem}\n")
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
