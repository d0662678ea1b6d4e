"""What the pages presume to be there: a model, drives, a video, a finished run. Each is made once a session."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.docs.blocks import ROOT

__all__ = ["Kit"]

EXAMPLE = ROOT / "examples" / "roadlines"
POLICY = """
[profile.cpu]
engines = ["torch-fp32", "ort-fp32"]

[[rules]]
id = "offset"
metric = "offset_max"
rung = "deploy/*"
statistic = "max"
limit = "0.30 m"
"""


@dataclass(frozen=True)
class Kit:
    """Makes things in a folder of its own and copies them to where a page wants them."""

    folder: Path

    def examples(self, into: Path) -> None:
        """INTO/examples as in a clone, but its training set is small."""
        shutil.copytree(ROOT / "examples", into / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        task = into / "examples" / "roadlines" / "task.toml"
        options = "[options]\nscenes = 10\nheld_out_scenes = 2\n"
        task.write_text(task.read_text(encoding="utf-8").replace("[options]\n", options), encoding="utf-8")

    def task(self, into: Path) -> None:
        """INTO/TASK.toml: the demo model's training task, with few pictures."""
        self.examples(self.folder / "task") if not (self.folder / "task").exists() else None
        shutil.copytree(self.folder / "task" / "examples" / "roadlines", into, dirs_exist_ok=True)
        text = (into / "task.toml").read_text(encoding="utf-8")
        pictures = (self.folder / "pictures").as_posix()
        (into / "TASK.toml").write_text(text.replace('"build/roadlines"', f'"{pictures}"'), encoding="utf-8")

    def model(self, into: Path, name: str = "model.toml") -> Path:
        """The demo model beside its code and weights."""
        for file in ("network.py", "baseline.safetensors"):
            shutil.copy(EXAMPLE / file, into / file)
        return Path(shutil.copy(EXAMPLE / "baseline.toml", into / name))

    def policy(self, into: Path, name: str = "release.trueline.toml", above: str = "") -> Path:
        """A policy of one rule, with keys `above` it."""
        (into / name).write_text(above + POLICY, encoding="utf-8")
        return into / name

    def drives(self, into: Path, ids: Sequence[str]) -> None:
        """INTO/ID for each id: half a second of synthetic road."""
        for id, source in zip(ids, self._cases, strict=False):
            shutil.copytree(source, into / id)
            text = (into / id / "case.toml").read_text(encoding="utf-8")
            text = re.sub(r'^id = ".*"$', f'id = "{id}"', text, count=1, flags=re.MULTILINE)
            (into / id / "case.toml").write_text(text, encoding="utf-8")

    def video(self, into: Path, name: str = "drive.mp4") -> Path:
        """A recording as a dash camera leaves it."""
        return Path(shutil.copy(self._video, into / name))

    def run(self, into: Path) -> None:
        """A finished run of the demo model on one drive, judged."""
        shutil.copytree(self._run, into)

    @cached_property
    def _cases(self) -> list[Path]:
        from cases.synth import synth_cases

        return synth_cases(9000, 3, 0.5, self.folder / "cases")

    @cached_property
    def _video(self) -> Path:
        import av

        path = self.folder / "drive.mp4"
        with av.open(str(next(self._cases[0].glob("cameras/front/video.*")))) as source, av.open(str(path), "w") as out:
            stream = out.add_stream("mpeg4", rate=20)
            stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
            for frame in source.decode(video=0):
                out.mux(stream.encode(frame.reformat(format="yuv420p")))
            out.mux(stream.encode(None))
        return path

    @cached_property
    def _run(self) -> Path:
        from harness.job import run_job
        from harness.model.card import load_card

        folder = self.folder / "model"
        folder.mkdir(parents=True, exist_ok=True)
        card, policy = load_card(self.model(folder)), self.policy(folder)
        run_job(card, self._cases[:1], policy=policy, out=self.folder / "run")
        return self.folder / "run"
