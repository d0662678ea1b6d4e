"""Runtimes that would report to their makers, imported so that they do not (docs/security.md).

ONNX Runtime from 1.32 on writes a device id into the user's cache folder and sends events to a collector, unless
ORT_DISABLE_TELEMETRY is set before its first session. OpenVINO reports its import through openvino-telemetry where that
is installed. A Ray cluster reports its size and libraries every hour, unless RAY_USAGE_STATS_ENABLED says 0 where it is
started. All are barred here, before the import; nothing else of ours imports them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["load_onnxruntime", "load_openvino", "load_ray"]


def load_onnxruntime() -> Any:
    """The package, imported without its telemetry.

    Raises:
        ImportError: not installed, or it does not load.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # whatever it was: nobody is to be told
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # of a package that was imported before
    return onnxruntime


def load_openvino() -> Any:
    """The package, imported without its telemetry.

    Raises:
        ImportError: not installed, or it does not load.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # how the import system bars a module
    import openvino

    return openvino


def load_ray() -> Any:
    """The package; a cluster that is started from here reports nothing. One that runs already does as it was told.

    Raises:
        ImportError: not installed, or it does not load.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    return ray
