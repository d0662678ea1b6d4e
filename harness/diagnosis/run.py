"""Diagnosis of a run: the car's dumped input tensors against the declared deploy pipeline; without a dump, what the
deploy pipeline really makes against the lab's.

What was found stands in the run folder, `diagnosis/INPUT.json` and `.png`, and is taken from there by whoever tells it
later (explain, the report), as long as the run is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from harness.diagnosis.chain import OWN
from harness.diagnosis.dumps import dumped_input
from harness.diagnosis.model import Diagnosis
from harness.diagnosis.pictures import write_picture
from harness.diagnosis.recorded import CarTensors, camera_inputs, chosen_frames, diagnose_recorded
from harness.diagnosis.solve import Solved
from harness.errors import DiagnosisError, ReportError
from harness.feed.inputs import InputBuilder, cameras_of, steps_of_card
from harness.feed.preprocess.ops import OPS
from harness.model.card import Card, InputSpec
from harness.run.card import card_of_run
from harness.run.folder import Run
from harness.run.json import read_json, write_json
from harness.run.recordings import Recordings
from harness.run.rungs import stage_of
from trueline import TruelineError

__all__ = ["FOLDER", "diagnose_run", "picture_of", "tensors_may_tell", "told_diagnoses", "write_diagnosis"]

FOLDER = "diagnosis"
LAB, DECLARED, DEPLOYED = "the lab's", "the declared deploy pipeline's", "the deploy pipeline's tensor"
NO_DUMP = "no input tensors of the car are dumped: the deploy pipeline stands for it"
CASES_LOOKED_INTO = 50  # for dumps of inputs
ON_THE_CAR = ("preprocess", "car")  # stages whose findings input tensors can explain


def diagnose_run(
    run: Run, *, case: str | None = None, dump: str | Path | None = None, cases: Sequence[Path] = ()
) -> list[Solved]:
    """Diagnose every camera input of a run in one case.

    Args:
        run: a finished run.
        case: id; None for the first case with a dump of the inputs, else the first of the run.
        dump: the car's tensors: name of a dump of the case, or a file or folder.
        cases: where the cases lie now, if not where they were.

    Returns:
        One for each input that could differ; none where there is no dump and deploy is the train pipeline.

    Raises:
        DiagnosisError: the dump does not hold the inputs, or not of this case.
        RunError: the case is not where it was, or the card has changed since the replay.
    """
    card = card_of_run(run.meta)
    recordings = Recordings(run.meta, run.path, cases)
    ids = [case] if case is not None else [str(c["id"]) for c in run.meta["cases"]]
    known = {str(c["id"]) for c in run.meta["cases"]}
    if unknown := [i for i in ids if i not in known]:
        raise DiagnosisError(
            f"no case {unknown[0]!r} in the run", where=str(run.path), remedy=f"it has {sorted(known)[:8]}"
        )
    found: list[Solved] = []
    for spec in camera_inputs(card):
        found += _of_input(card, spec, [recordings.open(i) for i in ids], dump)
    return found


def _of_input(card: Card, spec: InputSpec, cases: Sequence[Case], dump: str | Path | None) -> Iterator[Solved]:
    for number, case in enumerate(cases):
        try:
            tensors = dumped_input(case, spec, dump)
        except DiagnosisError:
            if number + 1 == len(cases):
                raise
            continue  # a dump outside the cases is of one of them
        if tensors is not None:
            yield diagnose_recorded(card, case, spec, tensors, expected=DECLARED, notes=tuple(tensors.notes))
            return
    if steps_of_card(card):
        tensors_of_deploy = _deployed(card, cases[0], spec)
        told = {"expected": LAB, "subject": DEPLOYED, "notes": (NO_DUMP,)}
        solved = diagnose_recorded(card, cases[0], spec, tensors_of_deploy, pipeline="train", **told)
        yield replace(solved, diagnosis=replace(solved.diagnosis, lines=()))  # the card says it already


def _deployed(card: Card, case: Case, spec: InputSpec) -> CarTensors:
    """What the deploy pipeline makes of the frames that are going to be looked at."""
    frames = chosen_frames(range(case.length))
    wanted = {*frames.fitted, *frames.kept_back}
    build, made = InputBuilder(card, case, "deploy"), dict[int, NDArray[Any]]()
    numbers = case.frame_numbers[: max(wanted) + 1].tolist()
    for tick in case.ticks(cameras_of(card), 0, max(wanted) + 1):
        tensor = build(tick)[spec.name]  # every moment: a step of the card's own may remember the one before
        if (at := numbers.index(tick.frame)) in wanted:
            made[at] = np.array(tensor)
    return made


def told_diagnoses(run: Run, findings: Iterable[Any] = (), cases: Sequence[Path] = ()) -> tuple[list[Diagnosis], str]:
    """Diagnoses of a run for explain and report, from its folder or made now and kept there.

    Args:
        run: a finished run.
        findings: of its explanation, worst first; the case is that of the first that input tensors may explain.
            Without any, only dumped input tensors are diagnosed.
        cases: where the cases lie now, if not where they were.

    Returns:
        The diagnoses, and why there are none, or why they are not kept; empty where there is nothing to say.
    """
    case = next((str(f.case) for f in findings if tensors_may_tell(f)), None)
    if (kept := _kept(run, case)) is not None:
        return kept, ""
    try:
        if own := _own_steps(run):
            return [], f"{own}: reading a run runs no code of a card; trueline diagnose {run.path} does"
        solved = diagnose_run(run, case=case, cases=cases) if case is not None else _of_dumps(run, cases)
    except TruelineError as error:
        return [], f"input tensors are not diagnosed: {error.what} ({error.where})"
    try:
        for one in solved:
            write_diagnosis(one, run.path / FOLDER, run=str(run.meta.get("digest")), asked=case or "")
    except TruelineError as error:
        return [one.diagnosis for one in solved], f"the diagnosis is not kept: {error.what} ({error.where})"
    return [one.diagnosis for one in solved], ""


def tensors_may_tell(finding: Any) -> bool:
    """Whether input tensors can explain a finding: it is blamed on preprocessing or on the car.

    One that is blamed on no step alone may be theirs too where it begins at a step that has such a factor among others.
    """
    if finding.stage:
        return finding.stage in ON_THE_CAR
    factors = (factor for step in finding.steps if step.rung == finding.first for factor in step.factors)
    return any(stage_of(factor) in ON_THE_CAR for factor in factors)


def _own_steps(run: Run) -> str:
    """Steps of the pipelines that are code of the card's own, in words; empty where there are none."""
    told = (run.meta.get("pipelines") or {}).values()
    ops = {str(step["op"]) for one in told for part in ("train", "deploy") for step in one.get(part, ())}
    own = sorted(op for op in ops if op not in OPS and not op.startswith(OWN))
    return f"input tensors are not diagnosed, for {', '.join(own)} is a step of the card's own" if own else ""


def _of_dumps(run: Run, cases: Sequence[Path]) -> list[Solved]:
    """Of the first case with a dump of the inputs; none where no case has one."""
    card, recordings = card_of_run(run.meta), Recordings(run.meta, run.path, cases)
    opened = [recordings.open(str(c["id"])) for c in run.meta["cases"][:CASES_LOOKED_INTO]]
    with_dump = [c for c in opened if any(dumped_input(c, spec) is not None for spec in camera_inputs(card))]
    return diagnose_run(run, case=with_dump[0].id, cases=cases) if with_dump else []


def picture_of(run: Run, found: Diagnosis) -> Path:
    """The difference picture of a diagnosis in a run's folder."""
    return run.path / FOLDER / f"{_file_name(found)}.png"


def _file_name(found: Diagnosis) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in found.input) or "input"


def write_diagnosis(solved: Solved, folder: Path, **about: str) -> Path:
    """Write INPUT.json and INPUT.png.

    Raises:
        ReportError: the folder cannot be written.
    """
    name = _file_name(solved.diagnosis)
    picture = write_picture(solved.pictures, solved.diagnosis, folder / f"{name}.png")
    path = folder / f"{name}.json"
    try:
        write_json(path, {**solved.diagnosis.to_json(), "picture": picture.name, "about": about})
    except OSError as error:
        raise ReportError(
            f"cannot write the diagnosis: {error.strerror}", where=str(path), remedy="name another folder by --out"
        ) from error
    return path


def _kept(run: Run, case: str | None) -> list[Diagnosis] | None:
    """Diagnoses in the run folder, None where there are none of this very run."""
    files = sorted((run.path / FOLDER).glob("*.json"))
    told = [read_json(file) for file in files]
    about = {"run": str(run.meta.get("digest")), "asked": case or ""}
    if not told or any(not isinstance(t, dict) or t.get("about") != about for t in told):
        return None
    return [Diagnosis.from_json(t) for t in told]
