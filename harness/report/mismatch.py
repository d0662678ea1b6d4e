"""What differs between the input tensors of lab and car, as the report shows it: harness/diagnosis says it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.diagnosis.model import Diagnosis
from harness.diagnosis.run import picture_of, tensors_may_tell, told_diagnoses
from harness.ladder import Finding
from harness.report.finding import WorstFrame
from harness.report.pictures import webp
from harness.run.folder import Run

__all__ = ["answer_of", "mismatch_view"]

WIDTH, QUALITY = 1280, 70


def mismatch_view(run: Run, findings: Sequence[Finding], cases: Sequence[Path]) -> dict[str, Any]:
    """The diagnoses of a run.

    Args:
        run: a finished run; what is found is kept in its folder.
        findings: of the explanation, worst first.
        cases: where the cases lie now, if not where they were.

    Returns:
        `told`: of each input its `sentence`, `case`, `whose` tensor it is, `others`, `remedies`, `lines`, `notes` and
        `src` (the picture); `why`: why there are none, or fewer.
    """
    found, why = told_diagnoses(run, findings, cases)
    return {"told": [_view(run, one) for one in found], "why": why}


def _view(run: Run, found: Diagnosis) -> dict[str, Any]:
    return {
        "input": found.input,
        "case": found.case,
        "whose": found.subject,
        "sentence": found.sentence,
        "others": list(found.others),
        "remedies": [edit.remedy for edit in found.edits],
        "lines": list(found.lines),
        "notes": list(found.notes),
        "src": _picture(picture_of(run, found)),
    }


def _picture(path: Path) -> str:
    """A picture of the run folder as WebP in a data URL; empty where there is none."""
    import cv2

    if not path.is_file():
        return ""
    bgr = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        return ""
    rgb: NDArray[np.uint8] = np.asarray(bgr[..., ::-1], np.uint8)
    return "data:image/webp;base64," + base64.b64encode(webp(rgb, WIDTH, QUALITY)).decode("ascii")


def answer_of(finding: Finding | WorstFrame | None, mismatch: dict[str, Any]) -> list[str]:
    """What the input tensors say of a finding: a sentence of each input; empty where they say nothing of it.

    Args:
        finding: None where there is none: what a dump of the car's tensors says is said all the same.
        mismatch: of `mismatch_view`.
    """
    if finding is not None and not tensors_may_tell(finding):
        return []
    told = mismatch["told"]
    if not told:
        return [mismatch["why"]] if finding is not None and mismatch["why"] else []
    several = len(told) > 1
    elsewhere = [f" (case {one['case']})" if finding and one["case"] not in ("", finding.case) else "" for one in told]
    return [
        f"{one['input'] + ': ' if several else ''}{one['sentence']}{where}"
        for one, where in zip(told, elsewhere, strict=True)
    ]
