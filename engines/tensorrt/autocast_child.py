"""The process that AutoCast runs in: `python -m engines.tensorrt.autocast_child ORDER`, ORDER being JSON.

It reads `calibration.npz` from the order's folder and writes `model.onnx` and `autocast.json` there. It exits with 0,
or with one line on stderr that says why not.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["main"]


CONVERTED = re.compile(r"Converted (\d+)/(\d+) nodes")


def main(order: dict[str, Any]) -> int:
    """Convert one graph; `order` has onnx, folder, precision and keep_fp32."""
    folder, log = Path(order["folder"]), io.StringIO()
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        warnings.simplefilter("ignore")
        try:
            facts = _convert(Path(order["onnx"]), folder, order["precision"], order["keep_fp32"])
        except Exception as error:  # whatever AutoCast raises becomes the one line that the parent shows
            text = (str(error).splitlines() or [""])[0]
            print(f"{type(error).__name__}: {text}", file=sys.__stderr__)
            return 1
    if found := CONVERTED.search(log.getvalue()):
        facts |= {"nodes_converted": int(found[1]), "nodes_considered": int(found[2])}
    (folder / "autocast.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return 0


def _convert(model: Path, folder: Path, precision: str, keep_fp32: list[str]) -> dict[str, Any]:
    import onnx

    autocast = importlib.import_module("modelopt.onnx.autocast")  # an extra, which type checkers need not have
    typed = autocast.convert_to_mixed_precision(
        str(model),
        low_precision_type=precision,
        keep_io_types=True,
        calibration_data=str(folder / "calibration.npz"),
        nodes_to_exclude=[f"{re.escape(name)}$" for name in keep_fp32],
        op_types_to_exclude=keep_fp32,
    )
    onnx.save(typed, folder / "model.onnx")
    types = Counter(onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in typed.graph.initializer)
    return {
        "modelopt": version("nvidia-modelopt"),
        "precision": precision,
        "opset": next(entry.version for entry in typed.opset_import if entry.domain in ("", "ai.onnx")),
        "nodes": len(typed.graph.node),
        "casts": sum(node.op_type == "Cast" for node in typed.graph.node),
        "weights": dict(sorted(types.items())),
    }


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
