"""Timing caches: how fast each tactic was on this GPU, so that a later build chooses the same ones sooner.

Where the user names a file, it decides: a tactic it lacks is an error (from TensorRT 10.0), a cache of another GPU or
version too. Otherwise each GPU and TensorRT has a file in the cache folder, which may be lost without harm. A rebuild
for the noise floor times everything afresh.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from engines.cache import folder_of
from engines.errors import ModelLoadError
from engines.tensorrt.api import Api, IBuilderConfig, ITimingCache
from engines.tensorrt.options import Options
from trueline._drafts import replacing

__all__ = ["attach_timing", "keep_timing", "own_timing_file"]


def own_timing_file(cache: Path, api: Api, gpu: dict[str, Any]) -> Path:
    """The file of this GPU and this TensorRT in the cache folder."""
    name = re.sub(r"[^\w.]+", "-", f"{api.version}-{gpu['name']}-{gpu['compute_capability']}")
    return folder_of(cache, "tensorrt") / f"timing-{name}.cache"


def attach_timing(api: Api, config: IBuilderConfig, options: Options, own: Path) -> None:
    """Give a build its timing cache.

    Raises:
        ModelLoadError: the user's file is damaged, or of another GPU or TensorRT.
    """
    if options.timing_cache is not None:
        _attach_users(api, config, options.timing_cache)
    elif options.rebuild or not (own.is_file() and _attached(config, own.read_bytes())):
        _attached(config, b"")


def keep_timing(config: IBuilderConfig, options: Options, own: Path) -> None:
    """After a build, keep what it measured; a user's file and a rebuild's timings are left alone."""
    timings: ITimingCache = config.get_timing_cache()
    if options.timing_cache is not None or options.rebuild or timings is None:
        return
    with replacing(own) as draft:
        draft.write_bytes(bytes(timings.serialize()))


def _attach_users(api: Api, config: IBuilderConfig, path: Path) -> None:
    with api.messages.collect() as messages:
        if not _attached(config, path.read_bytes()):
            raise ModelLoadError(
                f"TensorRT refuses the timing cache: {messages.reason('it is damaged, or of another GPU')}",
                where=str(path),
                remedy="give a timing cache that this TensorRT wrote on this GPU, or leave timing_cache out",
            )
    if api.has("BuilderFlag.ERROR_ON_TIMING_CACHE_MISS"):
        config.set_flag(api.trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)


def _attached(config: IBuilderConfig, content: bytes) -> bool:
    timings: ITimingCache = config.create_timing_cache(content)
    return timings is not None and bool(config.set_timing_cache(timings, ignore_mismatch=False))
