"""The inside of an isolated engine's process: open one engine and answer for it until the other side hangs up.

A request is the length of what lies in the request mailbox, 8 bytes on the request pipe; the mailbox holds packed
tensors with metadata: `op` is open, start_case or infer. The answer goes the same way back: tensors, or `error`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.child.mailbox import Mailbox
from engines.child.messages import from_json, said
from engines.child.pipes import Gone, deadline_of, read_exactly, write_all
from engines.errors import EngineCrashed, ModelLoadError
from engines.formats.packed import pack, unpack
from engines.protocol import CaseContext, Engine, ModelSource, Tensors, keeps_state
from engines.registry import open_engine

__all__ = ["main"]

_ALWAYS = deadline_of(None)


class _Server:
    """One engine and the requests it answers."""

    engine: Engine

    def answer(self, tensors: Tensors, ask: Mapping[str, str]) -> tuple[Tensors, dict[str, str]]:
        """Do what is asked."""
        if ask["op"] == "infer":
            if ask["now"]:
                self.engine.seek(int(ask["now"]))
            # copies, as an engine may keep what it was given and the next request overwrites the mailbox
            return self.engine.infer({name: np.array(array) for name, array in tensors.items()}), {}
        if ask["op"] == "open":
            source = from_json(ModelSource, ask["source"])
            self.engine = open_engine(ask["name"], source, **json.loads(ask["options"]))
        else:
            self.engine.start_case(from_json(CaseContext, ask["context"]))
        facts = {
            "uses_time": self.engine.uses_time,
            "keeps_state": keeps_state(self.engine),
            "provenance": dict(self.engine.provenance),
        }
        return {}, {"facts": json.dumps(facts)}


def main(requests: int, replies: int, lifeline: int, inbox: int, outbox: int) -> None:
    """Serve until the request pipe is closed; the numbers are inherited file descriptors."""
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    letters, answers = Mailbox(inbox), Mailbox(outbox)
    server = _Server()
    try:
        while True:
            length = int.from_bytes(read_exactly(requests, 8, _ALWAYS), "little")
            answered = _answered(server, *unpack(letters.look(length)))
            write_all(replies, [memoryview(answers.put(answered).to_bytes(8, "little"))], _ALWAYS)
    except Gone:
        if hasattr(server, "engine"):
            server.engine.close()


def _answered(server: _Server, tensors: Tensors, ask: Mapping[str, str]) -> list[Any]:
    try:
        return pack(*server.answer(tensors, ask))
    except BaseException as error:  # whatever an engine raises is an answer
        return pack({}, {"error": said(error, ModelLoadError if ask["op"] == "open" else EngineCrashed)})


def _end_with_parent(lifeline: int) -> None:
    """End at once when the parent is gone, even where the engine hangs."""
    os.read(lifeline, 1)
    os._exit(1)
