"""What case.toml may say (schema version 1), as pydantic models; unknown keys are errors.

`read_meta` reads a file of this or an older version, `write_meta` writes this one. docs/cases.md explains every key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cases.errors import CaseSchemaError
from cases.files import CASE_TOML
from cases.migrate import SCHEMA_VERSION, migrate
from cases.picture import ChromaSiting, ColorMatrix, ColorRange, PixelFormat
from cases.problem import Problem, in_one_line, raise_first
from cases.tomlout import dump_toml
from trueline._drafts import replacing
from trueline._reading import read_toml

__all__ = [
    "TOLERANCE_MS",
    "CameraKind",
    "CameraMeta",
    "CaseMeta",
    "Distortion",
    "Output",
    "meta_or_problems",
    "read_meta",
    "validated",
    "write_meta",
]

CameraKind = Literal["video", "images", "tensors"]

PIXEL_FORMATS: dict[CameraKind, tuple[PixelFormat, ...]] = {
    "video": ("yuv420p", "nv12", "gray8", "rgb24", "bgr24"),
    "images": ("rgb24", "bgr24", "gray8"),
    "tensors": ("tensor",),
}
COEFFICIENTS: dict[str, tuple[int, ...]] = {"none": (0,), "opencv": (4, 5, 8, 12, 14), "fisheye": (4,)}
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
CAMERA_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
TOLERANCE_MS = 5.0  # between a dumped frame and a moment of the case
_ROTATION_TOLERANCE = 1e-3

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Row3 = tuple[_Number, _Number, _Number]
_Row4 = tuple[_Number, _Number, _Number, _Number]
_CameraName = Annotated[str, Field(pattern=CAMERA_PATTERN)]
_CaseId = Annotated[str, Field(pattern=ID_PATTERN)]
_Inside = Annotated[str, AfterValidator(lambda name: _inside(name))]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Distortion(_Strict):
    """Lens distortion in OpenCV's order: `opencv` k1 k2 p1 p2 [k3 [k4 k5 k6 ...]], `fisheye` k1 k2 k3 k4."""

    model: Literal["none", "opencv", "fisheye"] = "none"
    coefficients: tuple[_Number, ...] = ()

    @model_validator(mode="after")
    def _as_many_as_the_model_has(self) -> Self:
        if len(self.coefficients) not in COEFFICIENTS[self.model]:
            raise ValueError(
                f"model {self.model!r} takes {COEFFICIENTS[self.model]} coefficients (got {len(self.coefficients)})"
            )
        return self


class CameraMeta(_Strict):
    """One camera's stream and calibration.

    Attributes:
        kind: `video` (cameras/NAME/video.*), `images` (images/*) or `tensors` (tensors/*.npy).
        pixel_format: what its pictures are; a stream in another format is converted on reading.
        color_matrix, color_range, chroma_siting: how to read its pixels where the stream itself does not say.
        color_assumed: true where nobody said and the three above are the customary guess.
        width, height: pixels; 0 for tensors.
        intrinsics: K, pixels, 3 x 3.
        distortion: lens distortion.
        extrinsics: 4 x 4 from camera (x right, y down, z forward) to vehicle (x forward, y left, z up), metres.
    """

    kind: CameraKind
    pixel_format: PixelFormat
    width: Annotated[int, Field(ge=0)] = 0
    height: Annotated[int, Field(ge=0)] = 0
    color_matrix: ColorMatrix = "bt601"
    color_range: ColorRange = "limited"
    chroma_siting: ChromaSiting = "left"
    color_assumed: bool = False
    intrinsics: tuple[_Row3, _Row3, _Row3] | None = None
    extrinsics: tuple[_Row4, _Row4, _Row4, _Row4] | None = None
    distortion: Distortion = Distortion()

    @field_validator("intrinsics")
    @classmethod
    def _pinhole(cls, rows: tuple[_Row3, _Row3, _Row3] | None) -> tuple[_Row3, _Row3, _Row3] | None:
        if rows is not None and (rows[2] != (0, 0, 1) or rows[0][0] <= 0 or rows[1][1] <= 0):
            raise ValueError("K must have positive focal lengths and the last row [0, 0, 1]")
        return rows

    @field_validator("extrinsics")
    @classmethod
    def _rigid(cls, rows: tuple[_Row4, _Row4, _Row4, _Row4] | None) -> tuple[_Row4, _Row4, _Row4, _Row4] | None:
        if rows is not None and not _is_rigid(rows):
            raise ValueError("must be a rotation and a translation with the last row [0, 0, 0, 1]")
        return rows

    @model_validator(mode="after")
    def _format_fits(self) -> Self:
        allowed = PIXEL_FORMATS[self.kind]
        if self.pixel_format not in allowed:
            raise ValueError(f"pixel_format of kind {self.kind!r} must be in {allowed} (got {self.pixel_format!r})")
        if self.kind != "tensors" and min(self.width, self.height) == 0:
            raise ValueError(f"a camera of kind {self.kind!r} needs width and height")
        if self.pixel_format in ("yuv420p", "nv12") and (self.width % 2 or self.height % 2):
            raise ValueError(f"{self.pixel_format} needs an even size (got {self.width}x{self.height})")
        return self


class Output(_Strict):
    """Outputs dumped on the car.

    Attributes:
        path: a file or folder, relative to the case or absolute.
        tolerance_ms: how far a dumped frame's time may be from a moment's; nobody said: `TOLERANCE_MS`.
        time_unit: of the dump's times; nobody said: nanoseconds.
        time_offset_ms: how much later the dump's clock is, or `estimate`; nobody said: 0.
        runner: of a Polygraphy file with several: its name, or a part of it that no other has.
        rename: the dump's name of an output -> the model card's.
    """

    path: Annotated[str, Field(min_length=1)]
    tolerance_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = TOLERANCE_MS
    time_unit: Literal["ns", "us", "ms", "s"] | None = None
    time_offset_ms: _Number | Literal["estimate"] | None = None
    runner: str | None = None
    rename: dict[str, str] = {}


class CaseMeta(_Strict):
    """All of case.toml.

    `drive` names the drive that the clip was cut from: clips of one drive resemble each other, and count as one where a
    gate asks about drives. `lossy` is true where frames went through a lossy codec: then no verdict blames the car for
    differences of its input. `truth_frame` is the frame of lines.parquet: `vehicle` (metres) or `image` (pixels of the
    first camera).
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    id: _CaseId
    source: str = ""
    licence: str = ""
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    tags: tuple[str, ...] = ()
    drive: str = ""
    lossy: bool
    truth_frame: Literal["vehicle", "image"] = "vehicle"
    cameras: Annotated[dict[_CameraName, CameraMeta], Field(min_length=1)]
    outputs: dict[str, Output] = {}
    sha256: dict[_Inside, _Sha256] = {}


def read_meta(root: Path) -> CaseMeta:
    """Read and check ROOT/case.toml; older schema versions are migrated.

    Raises:
        CaseSchemaError: no such file, not TOML, another schema version, unknown or wrong keys.
    """
    meta, problems = meta_or_problems(root)
    raise_first(problems)
    assert meta is not None  # no problems, so it was read
    return meta


def meta_or_problems(root: Path) -> tuple[CaseMeta | None, list[Problem]]:
    """The same for `check_case`: every problem of the file instead of the first."""
    path = root / CASE_TOML
    try:
        raw = migrate(_read_toml(path), where=str(path))
        return CaseMeta.model_validate(raw), []
    except ValidationError as error:
        return None, [_problem(item, path) for item in error.errors()]
    except CaseSchemaError as error:
        return None, [Problem.of(error)]


def validated(said: Mapping[str, Any], where: str) -> CaseMeta:
    """CaseMeta of keys given by a program instead of a file.

    Raises:
        CaseSchemaError: a key that case.toml could not hold.
    """
    try:
        return CaseMeta.model_validate(said)
    except ValidationError as error:
        raise _problem(error.errors()[0], Path(where)).error() from error


def write_meta(root: Path, meta: CaseMeta) -> None:
    """Write ROOT/case.toml; optional keys at their default are left out, but pixels are always described in full."""
    kept = meta.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    cameras = {name: _camera_table(camera) for name, camera in meta.cameras.items()}
    table = {name: kept[name] for name in CaseMeta.model_fields if name in kept} | {"cameras": cameras}
    text = dump_toml({"schema_version": meta.schema_version, **table})
    with replacing(root / CASE_TOML) as draft:
        draft.write_text(text, encoding="utf-8")


def _camera_table(camera: CameraMeta) -> dict[str, Any]:
    """One camera for writing: a tensor has no pixels to describe."""
    if camera.kind == "tensors":
        return camera.model_dump(mode="json", exclude_defaults=True)
    return camera.model_dump(
        mode="json", exclude_none=True, exclude={"distortion"} if camera.distortion == Distortion() else None
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except OSError as error:
        raise CaseSchemaError(
            f"no case: {error.strerror}",
            where=str(path),
            remedy="give a folder with a case.toml; trueline case import makes one",
        ) from error
    except ValueError as error:
        raise CaseSchemaError(
            f"not TOML: {in_one_line(error)}", where=str(path), remedy="fix the syntax at that line"
        ) from error


def _problem(item: Any, path: Path) -> Problem:
    """One of pydantic's findings as a problem."""
    key = ".".join(str(part) for part in item["loc"]) or "the whole file"
    if item["type"] == "extra_forbidden":
        return Problem("unknown key", f"{path}, {key}", "remove it, or see docs/cases.md for how it is spelt")
    if item["type"] == "missing":
        return Problem("key is missing", f"{path}, {key}", "add it; docs/cases.md has an example")
    shown = "" if item["type"] == "value_error" else f" (got {item['input']!r})"
    text = str(item["msg"]).removeprefix("Value error, ")
    return Problem(f"{text}{shown}", f"{path}, {key}", "correct the value; docs/cases.md says what it may be")


def _inside(name: str) -> str:
    """A path inside the case, as [sha256] lists it."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or path.as_posix() != name or "\\" in name:
        raise ValueError(f"{name!r} is no file inside the case: write it like cameras/front/video.mkv")
    return name


def _is_rigid(rows: tuple[_Row4, _Row4, _Row4, _Row4]) -> bool:
    """Last row [0, 0, 0, 1], and three orthonormal, right-handed axes."""
    a, b, c = (row[:3] for row in rows[:3])
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    unit = all(abs(math.hypot(*axis) - 1) < _ROTATION_TOLERANCE for axis in (a, b, c))
    right_handed = all(abs(x - y) < _ROTATION_TOLERANCE for x, y in zip(cross, c, strict=True))
    return rows[3] == (0, 0, 0, 1) and unit and right_handed
