"""The `trueline` command. Commands live in the modules beside this one; heavy imports happen inside them."""

from __future__ import annotations

import sys

from harness.cli.app import app
from trueline import TruelineError

__all__ = ["app", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and exit: 0 pass, 1 fail, 2 bad input or usage, 3 inconclusive or not run, 130 interrupted."""
    from harness.ownership import check_ownership

    try:
        check_ownership()
        code = app(args=arguments, standalone_mode=False)
    except TruelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, EOFError):
        print("stopped; run the same command again and it goes on with the first unfinished case", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            if type(error).__name__ == "Abort":
                sys.exit(130)
            raise
        print(f"error: usage: {message()} | remedy: see `trueline --help`", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
