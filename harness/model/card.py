"""Model cards: `model.toml` says how to build, export, feed and decode one model (docs/DESIGN.md section 3).

`load_card` validates the file; `Card.source` is what engines see of it, `Card.grid` what metrics see.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from engines.errors import UnknownEngine
from engines.protocol import CommandSpec, ExportTarget, ModelSource, TensorSpec
from engines.registry import base_name, check_name
from harness.errors import CardError
from harness.model.grid import Grid, RoadCamera, image_grid, vehicle_grid
from trueline._reading import read_toml

__all__ = ["Card", "InputSpec", "OutputSpec", "load_card"]

Step = dict[str, Any]
DEFAULT_CACHE = Path(".trueline/cache")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TorchPart(_Strict):
    """The network in PyTorch: `factory(**args)` builds it, `weights` fill it."""

    factory: str
    args: dict[str, Any] = {}
    weights: Path | None = None


class OnnxPart(_Strict):
    """A published ONNX file."""

    file: Path


class ExportPart(_Strict):
    """Exporter and opset; `targets` override them for one engine family."""

    exporter: Literal["dynamo", "legacy"] = "dynamo"
    opset: Annotated[int | None, Field(ge=9, le=25)] = None
    targets: dict[str, ExportPart] = {}


class InputSpec(_Strict):
    """One input of the network.

    source: `camera.NAME` (through the preprocessing pipeline), `calib.CAMERA.K|D|E`, `ego.FIELD` or `ego.pose_delta`,
    `const:VALUE` (a number, broadcast to the shape), or `state` (fed back, see [state]).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: Literal["float32", "float16", "uint8", "int32", "int64", "bool"] = "float32"
    layout: Literal["NCHW", "NHWC", "none"] = "none"
    source: Annotated[str, Field(pattern=r"^(camera\.\w+|calib\.\w+\.[KDE]|ego\.\w+|const:.+|state)$")]


class OutputSpec(_Strict):
    """One output of the network; the shape is checked where it is given."""

    name: str
    shape: tuple[int | str, ...] | None = None


class InputPipelines(_Strict):
    """Pipelines of one input that differ from the card's."""

    train: list[Step] = []
    deploy: list[Step] = []


class PreprocessPart(_Strict):
    """Two pipelines, lists of `{op = "...", step = "...", ...}`; `inputs.NAME` overrides them for one input."""

    train: list[Step] = []
    deploy: list[Step] = []
    inputs: dict[str, InputPipelines] = {}

    def steps_of(self, input_name: str, pipeline: str) -> list[Step]:
        """The ops of one input under `train` or `deploy`."""
        part: PreprocessPart | InputPipelines = self.inputs.get(input_name, self)
        return part.train if pipeline == "train" else part.deploy


class DecoderPart(BaseModel):
    """Decoder by name or dotted path; every other key goes to it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What the decoder is configured with."""
        return dict(self.model_extra or {})


_BELOW_PX = 8  # a near row that is closer to the vanishing row sees no road


class ImageGridPart(_Strict):
    """Size of the image frame and the rows (near, far) that lines use, pixels; and what is known of its camera.

    `vanishing_row` is where straight lines on a flat road meet. Where they are not known, `focal_px` is taken for the
    width of the image (a view of 53 degrees), `camera_height_m` for 1.5 m and `principal_column` for the middle.
    """

    width: float = Field(gt=0)
    height: float = Field(gt=0)
    rows: tuple[float, float]
    vanishing_row: float | None = None
    focal_px: float | None = Field(default=None, gt=0)
    camera_height_m: float = Field(default=1.5, gt=0)
    principal_column: float | None = None

    @model_validator(mode="after")
    def _near_is_below_far(self) -> Self:
        if not self.rows[0] > self.rows[1] >= 0:
            raise ValueError(f"rows must be [near, far] with near > far >= 0 (got {list(self.rows)})")
        if self.vanishing_row is not None and not self.vanishing_row < self.rows[0] - _BELOW_PX:
            raise ValueError(
                f"vanishing_row must lie {_BELOW_PX} rows or more above the near row {self.rows[0]:g} "
                f"(got {self.vanishing_row:g})"
            )
        return self

    @property
    def focal(self) -> float:
        """Focal length in pixels, known or taken."""
        return self.width if self.focal_px is None else self.focal_px


class RungPart(_Strict):
    """What one rung has of its own: options of its decoder; for logged lines, the rung whose tensors they are from."""

    decoder: dict[str, Any] = {}
    tensors_of: str = ""


class BandsPart(_Strict):
    """Band edges in metres, vehicle frame."""

    near: tuple[float, float] = (0, 20)
    mid: tuple[float, float] = (20, 40)
    far: tuple[float, float] = (40, 80)

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Self:
        edges = (*self.near, *self.mid, *self.far)
        if not (all(a <= b for a, b in pairwise(edges)) and all(a < b for a, b in (self.near, self.mid, self.far))):
            raise ValueError(f"near, mid and far must follow one another, each from its nearer edge on (got {edges})")
        return self


class CommandPart(_Strict):
    """A program that runs the model; keys as of engines.protocol.CommandSpec, told in docs/programs.md."""

    run: Annotated[tuple[str, ...], Field(min_length=1)]
    inputs: Literal["raw", "npz", "safetensors"] = "safetensors"
    outputs: Literal["raw", "npz", "safetensors", "trtexec"] = "safetensors"
    mode: Literal["per-frame", "pipe"] = "per-frame"
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    max_output_mb: Annotated[int, Field(gt=0)] = 1024
    restart: Literal["case", "never"] = "case"
    env: dict[str, str] = {}
    cwd: Path | None = None
    dtypes: dict[str, Literal["float32", "float16", "int8", "uint8", "int32", "int64", "bool"]] = {}

    def spec(self, outputs: tuple[OutputSpec, ...]) -> CommandSpec:
        """What engines are told of it; the shapes of outputs are those the card gives in numbers."""
        shapes = {o.name: o.shape for o in outputs if o.shape is not None}
        fixed = {n: tuple(d for d in s if isinstance(d, int)) for n, s in shapes.items() if not any(map(_named, s))}
        return CommandSpec(**self.model_dump(), shapes=fixed)


def _named(dimension: int | str) -> bool:
    return isinstance(dimension, str)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _known_engine(name: str) -> str:
    try:
        check_name(name)
    except UnknownEngine as error:
        raise ValueError(f"{error.what}; {error.remedy}") from error
    return name


def _known_rung(name: str) -> str:
    preprocess, slash, engine = name.partition("/")
    if preprocess not in ("train", "deploy") or not slash:
        raise ValueError(f"{name!r} is no rung: write it train/ENGINE or deploy/ENGINE")
    _known_engine(engine)
    return name


class Card(_Strict):
    """A validated model card. Paths are absolute; `path` is the file it came from.

    `unconfirmed` names what `trueline init` guessed and nobody has confirmed; replay and gate say so.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    path: Path
    frame: Literal["vehicle", "image"] = "vehicle"
    length_unit: Literal["m", "px"] = "m"
    reference: Annotated[str | None, Field(pattern=r"^(train|deploy)/[\w.:@-]+$")] = None
    torch: TorchPart | None = None
    onnx: OnnxPart | None = None
    export: ExportPart = ExportPart()
    inputs: Annotated[tuple[InputSpec, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    outputs: Annotated[tuple[OutputSpec, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    state: dict[str, str] = {}
    preprocess: PreprocessPart = PreprocessPart()
    decoder: DecoderPart
    bands: BandsPart = BandsPart()
    image: ImageGridPart | None = None
    plugins: tuple[Path, ...] = ()
    unconfirmed: tuple[str, ...] = ()
    fp16: Literal["weak", "strong"] = "strong"
    command: dict[Annotated[str, Field(pattern=r"^\w[\w.-]*$")], CommandPart] = {}
    engines: dict[Annotated[str, AfterValidator(_known_engine)], dict[str, Any]] = {}
    rungs: dict[Annotated[str, AfterValidator(_known_rung)], RungPart] = {}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.torch is None and self.onnx is None:
            raise ValueError("a card needs [torch], [onnx] or both")
        if (self.frame == "image") != (self.length_unit == "px"):
            raise ValueError(f"frame {self.frame!r} and length_unit {self.length_unit!r} contradict each other")
        if self.frame == "image" and self.image is None:
            raise ValueError("the image frame needs [image] with width, height and rows")
        if strange := [name for name, said in self.engines.items() if not isinstance(said.get("decoder", {}), dict)]:
            raise ValueError(f"[engines.{strange[0]}] decoder must be a table of options")
        names = {i.name for i in self.inputs}
        outputs = {o.name for o in self.outputs}
        for out, into in self.state.items():
            if out not in outputs or into not in names:
                raise ValueError(
                    f"[state] {out} = {into!r} must map an output {sorted(outputs)} to an input {sorted(names)}"
                )
        fed = {i.name for i in self.inputs if i.source == "state"}
        if fed != set(self.state.values()):
            raise ValueError(
                f"inputs with source 'state' {sorted(fed)} must be those [state] feeds {sorted(self.state.values())}"
            )
        unknown = set(self.preprocess.inputs) - names
        if unknown:
            raise ValueError(f"[preprocess.inputs] names unknown inputs {sorted(unknown)}, must be in {sorted(names)}")
        return self

    @property
    def root(self) -> Path:
        """Folder of the card."""
        return self.path.parent

    @property
    def reference_rung(self) -> str:
        """The lab's rung: `reference`, else train/torch-fp32, or train/ort-fp32 for an ONNX-only card."""
        return self.reference or ("train/torch-fp32" if self.torch else "train/ort-fp32")

    @property
    def on_road(self) -> bool:
        """Whether lines are drawn in pixels and laid on the road: metres, and an image with its vanishing row."""
        return self.frame == "vehicle" and self.image is not None and self.image.vanishing_row is not None

    @property
    def grid(self) -> Grid:
        """Stations and thresholds of this model."""
        if self.image is not None and self.frame == "image":
            image = self.image
            camera = None
            if image.vanishing_row is not None:
                camera = RoadCamera(image.vanishing_row, image.focal, image.camera_height_m)
            return image_grid(image.width, image.height, image.rows, camera)
        return vehicle_grid((self.bands.near, self.bands.mid, self.bands.far))

    def decoder_of(self, rung: str) -> DecoderPart | None:
        """The decoder that a rung has of its own, None where it is the card's.

        [rungs."NAME".decoder] is above [engines.ENGINE.decoder], that of the whole name above that of the plain one. A
        table without a name is the card's decoder with these options changed.
        """
        engine = rung.partition("/")[2]
        tables = (self.engines.get(key, {}).get("decoder", {}) for key in dict.fromkeys((base_name(engine), engine)))
        said: dict[str, Any] = {}
        for table in (*tables, self.rungs[rung].decoder if rung in self.rungs else {}):
            said = table if "name" in table else said | table
        if not said:
            return None
        return DecoderPart(**said if "name" in said else {"name": self.decoder.name, **self.decoder.options, **said})

    def source(self, cache: Path = DEFAULT_CACHE) -> ModelSource:
        """What engines are told of this model."""
        export = {"default": ExportTarget(self.export.exporter, self.export.opset)}
        export |= {name: ExportTarget(t.exporter, t.opset) for name, t in self.export.targets.items()}
        return ModelSource(
            name=self.name,
            root=self.root,
            inputs=tuple(TensorSpec(i.name, i.shape, i.dtype) for i in self.inputs),
            outputs=tuple(o.name for o in self.outputs),
            factory=self.torch.factory if self.torch else None,
            factory_args=self.torch.args if self.torch else {},
            weights=self.torch.weights if self.torch else None,
            onnx=self.onnx.file if self.onnx else None,
            export=export,
            state=self.state,
            shapes={o.name: o.shape for o in self.outputs if o.shape is not None},
            plugins=self.plugins,
            fp16=self.fp16,
            options={
                name: {key: value for key, value in options.items() if key != "decoder"}
                for name, options in self.engines.items()
            },
            commands={name: part.spec(self.outputs) for name, part in self.command.items()},
            cache=cache,
        )


def load_card(path: Path) -> Card:
    """Read and check a model card; relative paths are taken from the card's folder.

    Raises:
        CardError: the file is missing, is not TOML, has unknown keys, or contradicts itself.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.toml"
    try:
        raw = read_toml(path)
    except OSError as error:
        raise CardError(
            f"no model card: {error.strerror}", where=str(path), remedy="give the path of a model.toml"
        ) from error
    except ValueError as error:
        raise CardError(f"not TOML: {error}", where=str(path), remedy="fix the syntax at that line") from error
    root = path.resolve().parent
    for part, key in (("torch", "weights"), ("onnx", "file")):
        if isinstance(raw.get(part), dict) and isinstance(raw[part].get(key), str):
            raw[part][key] = root / raw[part][key]
    if isinstance(raw.get("plugins"), list):
        raw["plugins"] = [root / p for p in raw["plugins"]]
    try:
        return Card(**raw, path=path.resolve())
    except ValidationError as error:
        raise CardError(_first_problems(error), where=str(path), remedy="see docs/cards.md for every key") from error
    except TypeError as error:
        raise CardError(f"key 'path' is not a key of a card: {error}", where=str(path), remedy="remove it") from error


def _first_problems(error: ValidationError) -> str:
    """Every problem in one line: key, reason, value."""
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "card"
        shown = f" (got {item['input']!r})" if item["type"] not in ("extra_forbidden", "missing", "value_error") else ""
        problems.append(f"{key}: {item['msg']}{shown}")
    return "; ".join(problems)
