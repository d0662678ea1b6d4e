"""Changes that are no faults: the clean runs that must not be flagged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from engines.protocol import Engine, ExportTarget, ModelSource, Tensors
from harness.errors import FaultError
from harness.faults.openers import Changed, of_export
from harness.faults.preprocess import COLOURS, with_deploy
from harness.faults.protocol import Change, Control, Planted, Site
from harness.faults.recordings import decoded_by_opencv
from harness.replay.hooks import Hooks

__all__ = ["CONTROLS"]

Plant = Callable[[Site], Planted]
BATCH = 4
NOISE = 1e-6  # of each output's spread: what another order of sums does


def as_it_is(site: Site) -> Planted:
    """The chain as the card has it."""
    return Planted(site.card)


def with_options(applies: str, **options: Any) -> Plant:
    """Engines whose name begins so, opened with other options."""

    def plant(site: Site) -> Planted:
        def open_engine(name: str, source: ModelSource) -> Engine:
            import engines

            return engines.open(name, source, **(options if name.startswith(applies) else {}))

        return Planted(site.card, Hooks(open_engine))

    return plant


def in_place_of(name: str, other: str) -> Plant:
    """Another engine under the name of one."""

    def plant(site: Site) -> Planted:
        import engines

        (found,) = engines.availability(other)
        if not found.available:
            raise FaultError(f"{other}: {found.detail}", where=f"engine {other}", remedy=found.remedy)

        def open_engine(asked: str, source: ModelSource) -> Engine:
            return engines.open(other if asked == name else asked, source)

        return Planted(site.card, Hooks(open_engine))

    return plant


def exported_by(choose: Callable[[ExportTarget], ExportTarget]) -> Plant:
    """Exported in another way."""

    def plant(site: Site) -> Planted:
        if site.card.torch is None:
            raise FaultError(
                "the card has no network to export", where=str(site.card.path), remedy="leave this control out"
            )

        def open_engine(name: str, source: ModelSource) -> Engine:
            import engines

            return engines.open(name, replace(source, export={"default": choose(source.export["default"])}))

        return Planted(site.card, Hooks(open_engine))

    return plant


def _is_legacy(how: ExportTarget) -> bool:
    return how.exporter == "legacy" or (how.opset or 18) < 18


def _other_exporter(how: ExportTarget) -> ExportTarget:
    return ExportTarget("dynamo", None) if _is_legacy(how) else ExportTarget("legacy", 17)


def _other_opset(how: ExportTarget) -> ExportTarget:
    return ExportTarget("legacy", 16) if _is_legacy(how) else ExportTarget("dynamo", 20)


def rebuilt(site: Site) -> Planted:
    """Every artefact built anew, in an empty folder."""

    def open_engine(name: str, source: ModelSource) -> Engine:
        import engines

        return engines.open(name, replace(source, cache=site.folder / "cache"))

    return Planted(site.card, Hooks(open_engine))


def spelled_out(site: Site) -> Planted:
    """The deploy pipeline with one more step that changes nothing: channels in the order they have."""

    def edit(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        at = next((i + 1 for i, s in enumerate(steps) if s["op"] in COLOURS), None)
        if at is None:
            return steps
        channels = 1 if steps[at - 1]["op"] == "to_gray" else 3
        same = {"op": "channels", "step": "spelled-out", "order": list(range(channels))}
        return [*steps[:at], same, *steps[at:]]

    return Planted(with_deploy(site.card, edit), step="spelled-out")


def aligned(site: Site) -> Planted:
    """The reference pipeline on the car too, so that only the engines differ."""
    part = site.card.preprocess
    inputs = {n: p.model_copy(update={"deploy": p.train}) for n, p in part.inputs.items()}
    same = part.model_copy(update={"deploy": part.train, "inputs": inputs})
    return Planted(site.card.model_copy(update={"preprocess": same}))


def in_batches(site: Site) -> Planted:
    """Frames four at a time."""
    if site.card.state:
        raise FaultError("states are not for batches", where=f"{site.card.path} [state]", remedy="leave batches out")
    return Planted(site.card, batch=BATCH)


def rounding_noise(seed: int) -> Plant:
    """Outputs of every exported engine with noise of a millionth of their spread."""

    def plant(site: Site) -> Planted:
        def open_engine(name: str, source: ModelSource) -> Engine:
            import engines

            engine = engines.open(name, source)
            return Changed(engine, _noise(seed), {"noise": seed}) if of_export(site.card, name) else engine

        return Planted(site.card, Hooks(open_engine))

    return plant


def _noise(seed: int) -> Change:
    import numpy as np

    rng = np.random.default_rng(seed)

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        return {
            name: values + (NOISE * values.std() * rng.standard_normal(values.shape)).astype(values.dtype)
            for name, values in outputs.items()
        }

    return change


def other_decoder(site: Site) -> Planted:
    """The same videos decoded by OpenCV, to RGB, in the place of the recorded planes."""
    return Planted(site.card, cases=tuple(decoded_by_opencv(case, site.folder / "cases") for case in site.cases))


def _controls() -> Mapping[str, Control]:
    found = (
        Control("as_it_is", "the chain as the card has it", as_it_is),
        Control("one_thread", "ONNX Runtime with one thread", with_options("ort", threads=1)),
        Control("two_threads", "ONNX Runtime with two threads", with_options("ort", threads=2)),
        Control("basic_optimisation", "fewer graph optimisations", in_place_of("ort-fp32", "ort-fp32-basic")),
        Control("other_runtime", "OpenVINO in the place of ONNX Runtime", in_place_of("ort-fp32", "openvino-fp32")),
        Control("reordered", "sums in another order", in_place_of("ort-fp32", "emulated-reorder")),
        Control("reordered_1", "sums in a third order", in_place_of("ort-fp32", "emulated-reorder:1")),
        Control("rounding_noise", "noise of a millionth in outputs, seed 0", rounding_noise(0)),
        Control("rounding_noise_1", "the same, seed 1", rounding_noise(1)),
        Control("other_exporter", "exported by PyTorch's other exporter", exported_by(_other_exporter)),
        Control("other_opset", "exported to another opset", exported_by(_other_opset)),
        Control("rebuilt", "everything exported and built anew", rebuilt),
        Control("in_batches", "frames four at a time", in_batches),
        Control("spelled_out", "a preprocessing step that changes nothing", spelled_out),
        Control("aligned", "the train pipeline on the car too", aligned),
        Control("other_decoder", "videos decoded by OpenCV", other_decoder),
    )
    return {control.name: control for control in found}


CONTROLS: Mapping[str, Control] = _controls()
