"""Builds in a process of their own: what a library does there costs its build and nothing else.

The builder logs to standard output, keeps hundreds of megabytes, and may run out of memory or crash. The child
(engines/tensorrt/build_child.py) leaves the plan and what was said of it in a folder, or the error.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from engines.child.messages import raised
from engines.child.process import Process
from engines.errors import EngineCrashed
from engines.tensorrt.api import Api
from engines.tensorrt.build import Built, Order, order_text

__all__ = ["build_apart"]

_START = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from engines.tensorrt.build_child import main
main(sys.argv[2])"""  # it finds the modules that this process finds


def build_apart(api: Api, order: Order) -> Built:
    """Build a plan in a child process.

    Raises:
        EngineError: as of `build_plan`.
        EngineCrashed: the child ended without an answer, as one does that has no memory left.
    """
    with tempfile.TemporaryDirectory(prefix="trueline-build-") as folder:
        answer, error = Path(folder) / "said.json", Path(folder) / "error.json"
        (Path(folder) / "order.json").write_text(order_text(order), encoding="utf-8")
        places = json.dumps([place for place in sys.path if isinstance(place, str)])
        process = Process([sys.executable, "-P", "-c", _START, places, folder])
        try:
            process.wait(None)
            if error.is_file():
                raise raised(error.read_text(encoding="utf-8"), order.name, "report it with the model")
            if not answer.is_file():
                raise _ended(api, order, process)
        finally:
            process.forget()
        said = json.loads(answer.read_text(encoding="utf-8"))
        return Built((Path(folder) / "model.plan").read_bytes(), said["warnings"], said["layers"])


def _ended(api: Api, order: Order, process: Process) -> EngineCrashed:
    return EngineCrashed(
        f"{api.title} did not finish the build: the process that built {process.ending()}",
        where=f"{order.name}, {order.model}",
        remedy="see whether the machine ran out of memory (a build needs about 0.5 GB and several times the weights), "
        "or give a smaller network",
    )
