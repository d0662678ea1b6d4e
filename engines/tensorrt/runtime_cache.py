"""The runtime cache of TensorRT for RTX: kernels that the GPU's own compiler finished when a plan was loaded.

An execution context that is given the cache of an earlier run starts without compiling anew. The library takes a cache
only of its own version, driver and GPU, and refuses any other; one that is refused is made anew. Each plan has a file
beside its folder in the cache, which may be lost without harm. A prebuilt plan has none.
"""

from __future__ import annotations

from pathlib import Path

from engines.tensorrt.api import Api, ICudaEngine, IExecutionContext, IHostMemory, IRuntimeCache, IRuntimeConfig
from trueline._drafts import replacing

__all__ = ["create_context", "keep_cache"]


def create_context(api: Api, engine: ICudaEngine, file: Path | None) -> tuple[IExecutionContext, IRuntimeCache | None]:
    """An execution context, None where there is no memory for it, and its runtime cache where the product has one."""
    if not api.has("IRuntimeCache"):
        return engine.create_execution_context(), None
    config: IRuntimeConfig = engine.create_runtime_config()
    cache: IRuntimeCache = config.create_runtime_cache()
    if file is not None and file.is_file():
        cache.deserialize(file.read_bytes())
    config.set_runtime_cache(cache)
    return engine.create_execution_context(config), cache


def keep_cache(cache: IRuntimeCache | None, file: Path | None) -> None:
    """Write what the cache holds beside its plan, in one rename."""
    if cache is None or file is None:
        return
    content: IHostMemory = cache.serialize()
    if content is None:
        return
    with replacing(file) as draft:
        draft.write_bytes(bytes(content))
