"""Files of tensors that other tools write, each read to arrays by name.

    NAME.npz            numpy.savez
    NAME.safetensors    safetensors
    NAME.json           Polygraphy RunResults (`--save-outputs`), or `trtexec --exportOutput`
    NAME/*.raw          a folder of `trtexec --dumpRawBindingsToFile`

`reader.opened` picks the reader. Nothing here unpickles, and whatever is wrong with a file becomes one RecordingError.
"""

from __future__ import annotations
