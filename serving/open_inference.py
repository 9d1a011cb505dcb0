"""KServe's generated messages of the Open Inference Protocol, without the rest of its package.

``import kserve`` loads its clients, pandas and Kubernetes' models: more than a second and 100 MB, none of which a
server of the protocol needs. ``import_alone`` lets its modules be imported one by one.
"""

import importlib.util
import sys


def import_alone() -> None:
    """Let modules of ``kserve`` be imported without what its ``__init__`` imports; call it before any of them is.

    It is for a process that is nothing but the server: ``from kserve import ...`` finds no names after it.
    """
    spec = importlib.util.find_spec("kserve")
    if spec is not None:
        sys.modules.setdefault("kserve", importlib.util.module_from_spec(spec))
