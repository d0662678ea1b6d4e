r"""Text as it may be shown: what others wrote (a program, an exception, a name in a file), and counts of things.

Wherever such text leaves us, for a terminal, a page, XML or a log, it goes through `shown` first: an escape sequence is
written out and steers nothing, a character that turns the line around is seen.
"""

from __future__ import annotations

import unicodedata

__all__ = ["counted", "harmless", "shown"]

_LAYOUT = "\n\t"
_HIDDEN = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def shown(text: object, *, one_line: bool = False) -> str:
    r"""The text with everything that would steer a terminal written out: ESC as `\x1b`, U+202E as `\u202e`.

    What is left can stand in XML too.

    Args:
        text: anything; its `str` is taken.
        one_line: runs of white space, line ends among it, become one space.
    """
    told = " ".join(str(text).split()) if one_line else str(text)
    if told.isascii() and told.isprintable():
        return told
    return "".join(c if harmless(c) else _written_out(c) for c in told)


def harmless(character: str) -> bool:
    """Whether a character is only itself, wherever it is shown."""
    if character in _LAYOUT:
        return True
    noncharacter = ord(character) & 0xFFFE == 0xFFFE
    return character not in _HIDDEN and not noncharacter and unicodedata.category(character) not in ("Cc", "Cs")


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def counted(count: int, noun: str) -> str:
    """`1 case`, `12 cases`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
