"""Which decoder reads which rung: the card's, one of the rung's own, or none where a device logged its lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cases.case import Case
from engines.dumps import contents
from engines.registry import family
from harness.feed.inputs import context_of
from harness.lines.decode import Decoder, build_decoder
from harness.lines.decode.protocol import Outputs
from harness.lines.decode.recorded import RecordedLines, holds_lines
from harness.model.card import Card
from harness.run.decoder_rungs import Holds, with_decoders
from harness.run.rungs import Rung

__all__ = ["RungDecoder", "decoder_of", "read_by_decoders"]


@dataclass(frozen=True, slots=True)
class RungDecoder:
    """What makes lines of a rung's outputs.

    Attributes:
        decoder: of the card, or of the rung's own.
        logged: reads the lines that a device has decoded already, where a recording holds some; None elsewhere.
    """

    decoder: Decoder
    logged: RecordedLines | None = None

    def reading(self, outputs: Outputs) -> Decoder:
        """The decoder for these outputs."""
        return self.logged if self.logged is not None and holds_lines(outputs) else self.decoder


def read_by_decoders(card: Card, rungs: Sequence[Rung], cases: Iterable[Case]) -> tuple[Rung, ...]:
    """The ladder with a rung for every decoder that the card or a recording of lines asks for.

    Raises:
        UsageError: the reference has a decoder of its own.
        DecoderError: a decoder that cannot be built.
    """
    cases = list(cases)
    own: dict[str, Holds] = {}
    for rung in rungs:
        holds = _holds(rung, cases) if family(rung.engine) == "recorded" else "tensors"
        if holds != "tensors" or card.decoder_of(rung.name) is not None:
            own[rung.name] = holds
    tensors_of = {name: part.tensors_of for name, part in card.rungs.items() if part.tensors_of}
    found = with_decoders(rungs, own, tensors_of)
    for rung in found:
        decoder_of(card, rung)
    return found


def decoder_of(card: Card, rung: Rung) -> RungDecoder:
    """A fresh decoder for a rung: one that remembers frames shares its memory with no other rung.

    Raises:
        DecoderError: no such decoder, wrong options, or something that is no decoder.
    """
    part = card.decoder_of(f"{rung.preprocess}/{rung.engine}") if rung.decoder == "own" else None
    decoder = build_decoder(card if part is None else card.model_copy(update={"decoder": part}))
    if rung.decoder == "lab" or family(rung.engine) != "recorded":
        return RungDecoder(decoder)
    return RungDecoder(decoder, decoder if isinstance(decoder, RecordedLines) else RecordedLines(card.frame))


def _holds(rung: Rung, cases: Sequence[Case]) -> Holds:
    """What the recordings of a rung hold, in any of the cases; tensors where nothing can be read yet."""
    which = rung.engine.partition("@")[0].partition(":")[2]
    kinds: set[str] = set()
    for case in cases:
        outputs = context_of(case).outputs
        specs = [outputs[which]] if which in outputs else list(outputs.values())[:1]
        kinds |= set().union(*map(contents, specs))
    return "both" if kinds >= {"lines", "tensors"} else "lines" if "lines" in kinds else "tensors"
