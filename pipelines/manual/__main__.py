"""Build the manual: ``python -m pipelines.manual [FOLDER]``; it opens offline."""

import sys
from pathlib import Path

from components.shared.errors import PerennialError
from pipelines.images.environments import ROOT
from pipelines.manual import site

if __name__ == "__main__":
    try:
        print(site.build(Path(sys.argv[1]) if sys.argv[1:] else ROOT / ".manual"))
    except PerennialError as error:
        sys.exit(str(error))
