"""From a model and videos to a folder that replays: cases, card, policy, test and a picture of the first lines."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cases.case import Case, open_case
from cases.importing import import_case, name_of
from cases.tomlout import dump_toml
from engines.protocol import ExportTarget, ModelSource, TensorSpec
from harness.errors import UsageError
from harness.init.families import FRAMES, Fit, fits_of, unread_vector
from harness.init.guess import Ask, Guess, Settled
from harness.init.inputs import TEXT, Picture, input_tables, picture_of, state_table
from harness.init.network import Network, read_network
from harness.init.outputs import Seen, seen_outputs
from harness.init.paint import Paint, paint_of
from harness.init.picture import draw_first_frames, first_lines
from harness.init.pipelines import settle_pipelines, steps
from harness.init.text import card_text, policy_text, test_text
from harness.init.trials import Tried, draft_card, outputs_on, painted, tried
from harness.lines.table import LineTable
from harness.lines.vanishing import vanishing_row
from harness.model.card import Card, load_card
from harness.replay.replay import DEFAULT_ENGINES
from harness.run.tables import BANDS
from trueline._drafts import replacing

__all__ = ["Project", "init_project"]

CAMERA = "front"
TRIAL_FRAMES = 6
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Project:
    """What `init_project` wrote.

    Attributes:
        root: the folder.
        card: model.toml.
        cases: the case folders.
        policy: the policy, which pytest collects.
        test: a test file.
        picture: frames with the lines that the network draws; None where they cannot be drawn, and why.
        guesses: everything that was settled, in order.
        unconfirmed: keys of guesses that nobody has confirmed.
        lines: lines drawn on the trial frames.
        paint: how much of them lies on paint; None for lines in metres.
    """

    root: Path
    card: Path
    cases: tuple[Path, ...]
    policy: Path
    test: Path
    picture: Path | None
    no_picture: str
    guesses: tuple[Guess, ...]
    unconfirmed: tuple[str, ...]
    lines: int
    paint: Paint | None


def init_project(
    model: str,
    videos: Sequence[Path],
    out: Path,
    *,
    answers: Mapping[str, Any] | None = None,
    ask: Ask | None = None,
    cache: Path = Path(".trueline/cache"),
    tell: Tell = lambda text: None,
) -> Project:
    """Write a first card, policy, test and cases.

    Args:
        model: an ONNX file, or `module:factory` of a PyTorch network (its file beside the working folder), which needs
            the answer `input_shape`.
        videos: video files or folders of images; each becomes a case.
        out: folder to write into; its model.toml must not exist.
        answers: question -> answer.
        ask: asks a person what is not sure; None: nobody is there.
        cache: of prepared artefacts.
        tell: told what is being done, one line each.

    Raises:
        UsageError: the folder has a card, a question has neither guess nor answer, or nothing reads the outputs.
        ImportSourceError: a video that cannot become a case.
        ModelLoadError: the network does not load.
    """
    if (out / "model.toml").exists():
        raise UsageError(
            "there is a card already", where=str(out / "model.toml"), remedy="choose another --out, or remove it"
        )
    if not videos:
        raise UsageError("no video is given", where="trueline init", remedy="give at least one video or image folder")
    settled = Settled(answers or {}, ask)
    cases = tuple(_case(video, out, tell) for video in videos)
    tell("reading the network")
    part, network = _model(model, out, settled, cache)
    picture = picture_of(network, settled)
    draft = _draft(part, network, picture, settled)
    tell("running it on a few frames")
    opened = [open_case(case) for case in cases]
    seen = _trial(draft | {"decoder": {"name": "mask"}}, picture, opened, out, cache)
    fit = _decoder(seen, picture, settled)
    card = _card(draft, fit, picture, settled, opened, out, cache)
    settled.finish()
    return _written(_in_image(card, picture), seen, settled, cases, opened, out, cache, tell)


def _case(video: Path, out: Path, tell: Tell) -> Path:
    """The case of a video; one that an earlier try has imported stays."""
    name = name_of(video)
    folder = out / "cases" / name
    if (folder / "case.toml").is_file() and open_case(folder).meta.source == video.name:
        return folder
    tell(f"importing {video.name}")
    return import_case(video, id=name, out=out / "cases")


def _model(model: str, out: Path, settled: Settled, cache: Path) -> tuple[dict[str, Any], Network]:
    """`onnx` or `torch` of the card, and the network as an ONNX file."""
    path = Path(model)
    if path.suffix == ".onnx" or path.is_file():
        network = read_network(path)
        target = out / path.name
        if target.resolve() != path.resolve():
            out.mkdir(parents=True, exist_ok=True)
            _copy_onnx(path, target)
        return {"onnx": {"file": path.name}}, network
    if ":" not in model:
        raise UsageError(f"no such file {model}", where="MODEL", remedy="give an ONNX file, or module:factory")
    return _exported(model, out, settled, cache)


def _copy_onnx(path: Path, target: Path) -> None:
    """The file, and the files with its weights that lie beside it."""
    from engines.inspect.graph import weight_files

    shutil.copyfile(path, target)
    for name in weight_files(path):
        (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, target.parent / name)


def _exported(model: str, out: Path, settled: Settled, cache: Path) -> tuple[dict[str, Any], Network]:
    from engines.export import exported

    module = Path.cwd() / f"{model.partition(':')[0]}.py"
    if module.is_file() and module.parent.resolve() != out.resolve():
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, out / module.name)
    shape = settled.settle(
        Guess(
            "input_shape", None, "a PyTorch network does not say it: [1, 3, height, width]", forms=("a list of sizes",)
        )
    )
    names = settled.settle(
        Guess("outputs", None, "names for the network's outputs, in its order", forms=("a list of names",))
    )
    weights = settled.settle(Guess("weights", "", "no weights are named: the network's own initial ones", forms=TEXT))
    told = "none are named: the factory is called without arguments"
    arguments = settled.settle(Guess("args", {}, told, sure=True, forms=("a table",)))
    torch: dict[str, Any] = {"factory": model} | ({"args": arguments} if arguments else {})
    if weights:
        shutil.copyfile(weights, out / Path(weights).name)
        torch["weights"] = Path(weights).name
    source = ModelSource(
        name="init", root=out.resolve(), inputs=(TensorSpec("images", tuple(shape), "float32"),), outputs=tuple(names),
        factory=model, factory_args=arguments, weights=out.resolve() / torch["weights"] if weights else None,
        export={"default": ExportTarget()}, cache=cache,
    )  # fmt: skip
    return {"torch": torch}, read_network(exported(source))


def _draft(part: Mapping[str, Any], network: Network, picture: Picture, settled: Settled) -> dict[str, Any]:
    """The card without decoder, with the plainest preprocessing."""
    inputs = input_tables(network, picture, CAMERA, settled)
    state = state_table(network, inputs, settled)
    stem = part["torch"]["factory"].partition(":")[0].rpartition(".")[2] if "torch" in part else network.path.stem
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") or "model"
    guess = Guess("name", name, "the file's or module's name", sure=True, forms=TEXT)
    return {
        "schema": 1, "name": settled.settle(guess), **part,
        "inputs": inputs, "outputs": [{"name": o.name} for o in network.outputs],
    } | ({"state": state} if state else {})  # fmt: skip


def _trial(draft: Mapping[str, Any], picture: Picture, cases: Sequence[Case], out: Path, cache: Path) -> list[Seen]:
    """Outputs of a few frames under the plainest preprocessing."""
    colour = "gray" if picture.channels == 1 else "rgb"
    raw = picture.head.scaled and picture.head.largest > 2
    made = steps(picture, cases[0].meta.cameras[CAMERA], colour, "raw" if raw else "unit", ())
    drawn = {**draft, "frame": "image", "length_unit": "px", "preprocess": made}
    card = draft_card(_in_image(drawn, picture), out)
    return seen_outputs(outputs_on(card, cases, TRIAL_FRAMES, cache))


def _decoder(seen: Sequence[Seen], picture: Picture, settled: Settled) -> Fit:
    """The decoder: an answer, or the family that fits best."""
    fits = fits_of(seen, picture)
    shapes = ", ".join(f"{s.name} {list(s.shape)}" for s in seen)
    best = fits[0] if fits else None
    tied = [fit for fit in fits[1:] if best is not None and fit.distinct == best.distinct]
    forms = ("a text", "a table with a name")
    if best is None or tied:
        reason = f"no decoder reads {shapes}" if best is None else f"several decoders read {shapes}"
        reason = "; ".join(filter(None, (reason, unread_vector(seen) if best is None else "")))
        guess = Guess("decoder", None, reason, others=[_named(f) for f in fits], forms=forms)
    else:
        guess = Guess(
            "decoder", _named(best), best.evidence, best.distinct == 3, [_named(f) for f in fits[1:]], forms=forms
        )
    said = settled.settle(guess)
    table = dict(said) if isinstance(said, Mapping) else {"name": said}
    for fit in fits:
        if fit.decoder == table["name"] and all(fit.options.get(k, v) == v for k, v in table.items() if k != "name"):
            guessed = {key: why for key, why in fit.guessed.items() if key not in table}
            return replace(fit, options={**fit.options, **_rest(table)}, guessed=guessed)
    name = str(table["name"])
    return Fit(name, _rest(table), 3, "answered", frame=FRAMES.get(name, "image"))


def _named(fit: Fit) -> dict[str, Any]:
    """A fit as a person would answer it: name and outputs."""
    return {"name": fit.decoder, **{k: v for k, v in fit.options.items() if isinstance(v, str) and v}}


def _rest(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "name"}


def _card(
    draft: Mapping[str, Any],
    fit: Fit,
    picture: Picture,
    settled: Settled,
    cases: Sequence[Case],
    out: Path,
    cache: Path,
) -> dict[str, Any]:
    """The card's tables, every question settled."""
    options = dict(fit.options)
    for key, why in fit.guessed.items():
        if key != "frame":
            options[key] = settled.settle(Guess(f"decoder.{key}", options.get(key, _default(key)), why))
    for key in settled.answers_to("decoder"):  # also of options that the shapes leave no doubt about
        if key not in fit.guessed:
            options[key] = settled.settle(Guess(f"decoder.{key}", options.get(key, _default(key)), "", sure=True))
    told = fit.guessed.get("frame", fit.evidence)
    frame = settled.settle(Guess("frame", fit.frame, told, "frame" not in fit.guessed, words=("vehicle", "image")))
    card = {
        **draft, "frame": frame, "length_unit": "px" if frame == "image" else "m",
        "decoder": {"name": fit.decoder, **options},
    }  # fmt: skip
    camera = cases[0].meta.cameras[CAMERA]

    def draws(ways: Sequence[tuple[str, Any]], before: Sequence[Mapping[str, Any]]) -> list[Tried]:
        def card_of(colour: str, normalisation: Any) -> Card:
            made = steps(picture, camera, colour, normalisation, before)
            return draft_card(_in_image(card, picture) | {"preprocess": made}, out)

        return tried(card_of, ways, cases, TRIAL_FRAMES // 2, cache)

    def paints(colour: str, normalisation: Any, before: Sequence[Mapping[str, Any]]) -> Paint:
        made = steps(picture, camera, colour, normalisation, before)
        trial = draft_card(_in_image(card, picture) | {"preprocess": made}, out)
        return painted(trial, cases, TRIAL_FRAMES // 2, cache)

    paint = paints if frame == "image" else None
    return card | {"preprocess": settle_pipelines(fit, picture, camera, settled, draws, paint)}


def _in_image(card: Mapping[str, Any], picture: Picture) -> dict[str, Any]:
    """The card with the network's picture as its image, where its lines are pixels."""
    size = {"width": picture.width, "height": picture.height}
    rows = [round(picture.height * 0.97), round(picture.height * 0.5)]
    return {**card, "image": {**size, "rows": rows}} if card["frame"] == "image" else dict(card)


def _default(key: str) -> Any:
    return {"lane_class": 1, "length": "", "channels": "", "window": 9, "shared_top": False}.get(key)


def _written(
    card: dict[str, Any], seen: Sequence[Seen], settled: Settled, cases: tuple[Path, ...], opened: Sequence[Case],
    out: Path, cache: Path, tell: Tell,
) -> Project:  # fmt: skip
    """Shapes, rows of the image, files and the picture."""
    shapes = {s.name: [1, *s.shape] for s in seen}
    card["outputs"] = [{"name": o["name"], "shape": shapes[o["name"]]} for o in card["outputs"] if o["name"] in shapes]
    draft = draft_card(card, out)
    tell("drawing lines on the first frames")
    lines = first_lines(draft, opened, outputs_on(draft, opened, 2 * TRIAL_FRAMES, cache))
    if card["frame"] == "image":
        card["image"]["rows"], rows_told = _rows(lines, card["image"])
        _take_vanishing_row(card["image"], lines, settled)
        rows_told += _without_kink(draft_card(card, out))
        settled.guesses.append(Guess("image.rows", card["image"]["rows"], rows_told))
        settled.unconfirmed.append("image.rows")
    card["unconfirmed"] = settled.unconfirmed
    out.mkdir(parents=True, exist_ok=True)
    policy = "smoke" if card["frame"] == "vehicle" else "smoke-image"
    files = {
        "model.toml": card_text(card, settled.guesses, dump_toml),
        f"{policy}.trueline.toml": policy_text(policy, _engines(card)),
        "test_lines.py": test_text([case.name for case in cases]),
    }
    for name, text in files.items():
        with replacing(out / name) as path:
            path.write_text(text, encoding="utf-8")
    made = load_card(out / "model.toml")
    picture, why = draw_first_frames(made, opened, lines, out / "first_frames.png")
    return Project(
        out, out / "model.toml", cases, out / f"{policy}.trueline.toml", out / "test_lines.py", picture, why,
        tuple(settled.guesses), tuple(settled.unconfirmed), sum(len(t) for t in lines.values()),
        paint_of(made, opened, lines) if made.frame == "image" else None,
    )  # fmt: skip


def _engines(card: Mapping[str, Any]) -> list[str]:
    """Those of a replay that names none, as far as the card has what they run."""
    return [name for name in DEFAULT_ENGINES if "torch" in card or not name.startswith("torch")]


def _take_vanishing_row(image: dict[str, Any], lines: Mapping[str, LineTable], settled: Settled) -> None:
    """Bands and thresholds follow the row at which the lines meet, where they tell one below which there is a road."""
    found = vanishing_row(lines.values(), image["height"])
    if found is None or found > image["rows"][0] - 0.1 * image["height"]:
        return
    image["vanishing_row"] = round(found)
    told = "where the near halves of the lines on the trial frames meet"
    settled.guesses.append(Guess("image.vanishing_row", image["vanishing_row"], told))
    settled.unconfirmed.append("image.vanishing_row")


def _without_kink(card: Card) -> str:
    """That lines of so few rows have no kink in some bands; empty where they have it in all."""
    bands = [band for band, there in zip(BANDS, card.grid.bands_with_kink, strict=True) if not there]
    length = min(card.grid.thresholds.kink_length)
    told = f"; kink looks {length:.0f} px up and down and has no value {' and '.join(bands)} in so few rows"
    return told if bands else ""


def _rows(lines: Mapping[str, LineTable], image: Mapping[str, Any]) -> tuple[list[int], str]:
    """Rows that lines use on most frames: the tenth of the near ends, the tenth of the far ends."""
    ends = [
        (float(t.points(i)[:, 1].max()), float(t.points(i)[:, 1].min())) for t in lines.values() for i in range(len(t))
    ]
    if len(ends) < 6:
        return list(image["rows"]), f"only {len(ends)} lines were drawn on the trial frames: a share of the height"
    near, far = np.quantile([e[0] for e in ends], 0.5), np.quantile([e[1] for e in ends], 0.5)
    found = [int(min(near, image["height"] - 1)), int(max(far, 0))]
    if found[0] - found[1] < 0.1 * image["height"]:
        return list(image["rows"]), "the lines drawn are too short to tell: a share of the height"
    return found, f"the medians of the near and far ends of {len(ends)} lines on the trial frames"
