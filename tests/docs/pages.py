"""What each page presumes, and what of it cannot run here; a page without an entry runs in an empty folder.

A key that no longer occurs in its page fails the tests: the table cannot grow stale.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.docs.kit import Kit

__all__ = ["PAGES", "Page"]

Names = dict[str, Any]
PAPERS = "hours of training: `make reports` does not repeat papers"
MACHINE = "minutes with every engine, for figures of one idle machine; the page says which"
WEIGHTS = "made the committed weights: 150 s of rendering and 890 s of training"


def _nothing(kit: Kit, folder: Path) -> Names:
    return {}


@dataclass(frozen=True)
class Page:
    """How a page runs.

    Attributes:
        prepare: fills its folder; gives the names that its Python blocks find defined.
        slow: more than some seconds; runs by `make reports`.
        replaced: text of the page -> what runs instead, so that it stays small.
        not_run: beginning of a block -> why it cannot run here.
        read_toml: reads a TOML block (text, file or folder) as what it is.
        python_by: the test that runs its Python blocks, where a page has one of its own.
    """

    prepare: Callable[[Kit, Path], Names] = _nothing
    slow: bool = False
    replaced: Mapping[str, str] = field(default_factory=dict)
    not_run: Mapping[str, str] = field(default_factory=dict)
    read_toml: Callable[[str, Path], object] | None = None
    python_by: str = ""


def _clone(kit: Kit, folder: Path) -> Names:
    """A clone, as far as commands see it."""
    kit.examples(folder)
    return {}


def _project(kit: Kit, folder: Path) -> Names:
    """model.toml, release.trueline.toml and two drives."""
    kit.model(folder)
    kit.policy(folder)
    kit.drives(folder / "drives", ["highway_007", "tunnel_03"])
    return {}


def _finished(kit: Kit, folder: Path) -> Names:
    """A project whose run runs/candidate is finished and judged."""
    _project(kit, folder)
    kit.run(folder / "runs" / "candidate")
    return {}


def _diagnosed(kit: Kit, folder: Path) -> Names:
    """A finished run; what a car with red and blue swapped fed to its network, and what the lab did."""
    import numpy as np

    from harness.feed.inputs import InputBuilder
    from harness.model.card import load_card
    from harness.run.folder import Run
    from harness.run.recordings import Recordings

    names = _finished(kit, folder)
    run = Run.open(folder / "runs" / "candidate")
    case = Recordings(run.meta, run.path).open(str(run.meta["cases"][0]["id"]))
    build = InputBuilder(load_card(Path(run.meta["card"]["path"])), case, "deploy")
    lab = np.stack([build(tick)["image"] for tick in case.ticks()])
    np.savez(folder / "lab_inputs.npz", image=lab, timestamp_ns=case.timestamps_ns)
    np.savez(folder / "car_inputs.npz", image=lab[:, :, ::-1], timestamp_ns=case.timestamps_ns)
    return names


def _perception(kit: Kit, folder: Path) -> Names:
    kit.model(folder)
    kit.drives(folder / "cases", ["bend_01", "tunnel_03"])
    return {}


def _recordings(kit: Kit, folder: Path) -> Names:
    """A video and a folder of pictures to import."""
    import cv2
    import numpy as np

    kit.video(folder)
    (folder / "stills").mkdir()
    for i in range(4):
        cv2.imwrite(str(folder / "stills" / f"img_{i}.png"), np.full((36, 64, 3), 40 * i, np.uint8))
    return {}


def _task(kit: Kit, folder: Path) -> Names:
    """TASK.toml, and the small task that it makes."""
    kit.task(folder)
    return {}


def _clone_and_loop(kit: Kit, folder: Path) -> Names:
    """A clone, and a task for a loop of one's own."""
    from tests.techniques.small_tasks import polylines_task

    return _clone(kit, folder) | {"task": polylines_task(48), "folder": folder / "candidate"}


def _policies(kit: Kit, folder: Path) -> Names:
    """A policy to extend, that limits what a policy with bend rules must limit."""
    rule = '[[rules]]\nid = "{0}"\nmetric = "{0}"\nrung = "*"\nstatistic = "mean"\nlimit = "{1}"\n'
    limits = {"missing": "0.1 lines", "extra": "0.1 lines", "coverage": "90 %"}
    text = "".join(rule.format(*pair) for pair in limits.items())
    (folder / "base.trueline.toml").write_text(text, encoding="utf-8")
    return {}


def _read_policy(text: str, path: Path) -> object:
    from harness.gate import load_policy

    return load_policy(path if path.is_file() else _written(path / "page.trueline.toml", text))


def _read_card(text: str, path: Path) -> object:
    """A whole card, or keys added to one."""
    from harness.model.card import load_card
    from tests.docs.kit import EXAMPLE

    whole = "inputs" in tomllib.loads(text)
    card = text if whole else f"{(EXAMPLE / 'baseline.toml').read_text(encoding='utf-8')}\n{text}"
    return load_card(_written(path / "page.toml", card))


def _read_case(text: str, path: Path) -> object:
    from cases.schema import read_meta

    _written(path / "case.toml", text)
    return read_meta(path)


def _read_task(text: str, path: Path) -> object:
    """A whole task file, a recipe, or options of techniques."""
    from harness.training import load_task_file
    from techniques.recipes import load_recipe
    from techniques.registry import build_all

    if "schema" in (raw := tomllib.loads(text)):
        file = _written(path / "page.toml", text)
        return load_task_file(file) if "factory" in raw else build_all(load_recipe(str(file)))
    return [build_all({name: options}) for name, options in raw.get("technique", {}).items()]


def _read_release(text: str, path: Path) -> object:
    if path.name == "model.toml" and "inputs" in tomllib.loads(text):
        return _read_card(text, path.parent)
    return _read_policy(text, path) if path.name.endswith(".trueline.toml") else None


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


SMALL_BUDGET = {"trueline train TASK.toml": "trueline train TASK.toml --budget 24"}


def _foreign(kit: Kit, folder: Path) -> Names:
    """A network with a lane mask, and a video: what a new user has."""
    import cv2
    import numpy as np

    from tests.harness.init.init_models import write_network

    mask = np.full((1, 64, 128), -4.0)
    mask[0, 10:, 60:63] = 4
    write_network(folder / "lanes.onnx", {"mask": mask})
    video = cv2.VideoWriter(str(folder / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 80))
    for k in range(12):
        video.write(np.full((80, 160, 3), 40 + 10 * k, np.uint8))
    video.release()
    return {}


PAGES: dict[str, Page] = {
    "README.md": Page(
        _clone,
        slow=True,
        replaced={
            "examples/roadlines/task.toml --": "examples/roadlines/task.toml --budget 40 --",
            "build/rc2/model.toml --cases drives": "build/rc2/model.toml --cases drives/synth_09000",
            '["drives"]': '["drives/synth_09002"]',
        },
        not_run={"make demo": "CI runs it and `make test` (.ci/run)"},
        read_toml=_read_release,
    ),
    "docs/contributing.md": Page(not_run={"make check": "CI runs both (.ci/run)"}),
    "docs/cards.md": Page(read_toml=_read_card),
    "docs/ci.md": Page(_project, slow=True),
    "docs/dumping.md": Page(
        not_run={
            "trueline diagnose runs/candidate --dump dump": "needs a car's dump; docs/diagnosis.md runs the command"
        }
    ),
    "docs/index.md": Page(_foreign, slow=True, replaced={"pip install './trueline[cpu]'": "true"}),
    "docs/init.md": Page(
        not_run={
            "$ trueline init twinlitenet.onnx": "foreign model and clip; tests/harness/init runs them where they are"
        }
    ),
    "docs/cases.md": Page(_recordings, slow=True, read_toml=_read_case),
    "docs/diagnosis.md": Page(_diagnosed, slow=True),
    "docs/evidence/engines.md": Page(
        not_run={
            "python -m benchmarks.engines examples/roadlines": MACHINE,
            "python -m benchmarks.engines examples/twinlitenet": MACHINE,
        }
    ),
    "docs/evidence/emulation.md": Page(not_run={"python -m benchmarks.emulation": "needs an NVIDIA GPU"}),
    "docs/explain.md": Page(_finished, slow=True),
    "docs/faults.md": Page(_project, slow=True),
    "docs/gate.md": Page(_policies, read_toml=_read_policy),
    "docs/programs.md": Page(read_toml=_read_card),
    "docs/pytest.md": Page(_perception, slow=True, read_toml=_read_release),
    "docs/recordings.md": Page(
        _project, slow=True, not_run={"polygraphy run": "needs TensorRT; tests/contracts has the real Polygraphy"}
    ),
    "docs/reports.md": Page(_project),
    "docs/report.md": Page(_project, slow=True),
    "docs/roadlines.md": Page(
        _clone,
        replaced={"--count 8 --seconds 4": "--count 1 --seconds 0.2"},
        not_run={"python examples/roadlines/train.py": WEIGHTS},
    ),
    "docs/scale.md": Page(
        not_run={"trueline replay model.toml": "needs a Ray cluster; tests/harness/replay/test_cluster.py"}
    ),
    "docs/security.md": Page(not_run={"docker run --rm": "needs a container engine and an image of one's own"}),
    "docs/techniques.md": Page(
        _clone_and_loop,
        slow=True,
        replaced={
            "examples/roadlines/task.toml --": "examples/roadlines/task.toml --budget 40 --",
            "--count 8 --seconds 2": "--count 1 --seconds 0.2",
            "budget_passes=1900": "budget_passes=24, batch=8",
        },
        read_toml=_read_task,
    ),
    "docs/techniques/one_run.md": Page(
        not_run={"python -m benchmarks.candidates": "trains every technique, two to three minutes each"},
    ),
    "docs/techniques/attacks.md": Page(
        _task,
        slow=True,
        replaced=SMALL_BUDGET,
        not_run={
            "nice -n 5 python -m benchmarks.papers.adversarial": PAPERS,
            "nice -n 5 python -m benchmarks.papers.few_labels": PAPERS,
        },
        read_toml=_read_task,
        python_by="tests/techniques/test_attack.py",
    ),
    "docs/techniques/averages.md": Page(
        _task,
        slow=True,
        replaced=SMALL_BUDGET,
        not_run={f"python -m benchmarks.papers.{name}": PAPERS for name in ("averages", "swalp")},
        read_toml=_read_task,
        python_by="tests/techniques/test_averages_guide.py",
    ),
    "docs/techniques/pipelines.md": Page(read_toml=_read_task, python_by="tests/techniques/test_pipelines_guide.py"),
    "docs/techniques/probes.md": Page(
        _task, slow=True, replaced=SMALL_BUDGET, read_toml=_read_task, python_by="tests/techniques/test_criticality.py"
    ),
    "docs/techniques/regularisers.md": Page(
        _task,
        slow=True,
        replaced=SMALL_BUDGET,
        not_run={
            "nice -n 5 python -m benchmarks.papers.uat": PAPERS,
            "nice -n 5 python -m benchmarks.papers.rotation": PAPERS,
        },
        read_toml=_read_task,
        python_by="tests/techniques/test_regularisers_guide.py",
    ),
    "docs/techniques/soups.md": Page(
        _task,
        slow=True,
        replaced=SMALL_BUDGET,
        not_run={f"nice -n 5 python -m benchmarks.papers.{name}": PAPERS for name in ("soups", "wiseft", "regmixup")},
        read_toml=_read_task,
        python_by="tests/techniques/test_soups_guide.py",
    ),
    "examples/roadlines/README.md": Page(not_run={"python examples/roadlines/train.py": WEIGHTS}),
    "docs/tensorrt.md": Page(
        not_run={
            "pip install 'trueline[trt-rtx]'": "NVIDIA's compiler is an extra; test_rtx_builds.py has it",
            "trueline model plan CARD": "NVIDIA's compiler is an extra; test_rtx_plans.py has it",
        }
    ),
    "examples/twinlitenet/README.md": Page(
        not_run={"for clip in": "model and clips lie outside; tests/examples/test_twinlitenet.py runs where they are"}
    ),
}
