"""The `trueline` command. Commands live in the modules beside this one; heavy imports happen inside them."""

from __future__ import annotations

import os
import select
import sys
import traceback

from harness.cli.app import command_tree
from harness.cli.stopping import how_to_go_on, stoppable
from harness.terminal import accept_any_text, fail, say
from trueline import TruelineError
from trueline._machine import machine_error

__all__ = ["main"]

INTERRUPTED = 130
NO_READER = 141  # as a shell says of a program that SIGPIPE ended
BUG = 4
COMPLETING = "_TRUELINE_COMPLETE"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and exit.

    0 pass; 1 fail; 2 bad input or usage, or something that the machine refuses; 3 inconclusive or not run; 4 a bug of
    ours, with its traceback; 130 interrupted, 143 terminated.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if os.environ.get(COMPLETING):  # a shell asks what could come next; the library answers and exits
        command_tree()(args=given, prog_name="trueline")
    accept_any_text(sys.stdout, sys.stderr)
    with stoppable() as stop:
        try:
            sys.exit(_run(given))
        except (KeyboardInterrupt, EOFError):
            say(how_to_go_on(given))
            sys.exit(stop.exit_code)


def _broken(error: BaseException) -> int:
    """What the machine refused, in one line; anything else is a bug of ours and ends in its traceback."""
    if _no_reader(error):
        return NO_READER
    if isinstance(error, SystemExit) and _raised_in(error, "typer"):
        return 2 if error.code else 0  # it ends so where it has installed completion, or cannot
    refused = machine_error(error)
    if refused is not None:
        fail(refused)
        return refused.exit_code
    say("".join(traceback.format_exception(error)).rstrip())
    fail("a bug of Trueline | remedy: report the lines above; `trueline --version` says which it is")
    return BUG


def _raised_in(error: BaseException, package: str) -> bool:
    """Whether the last frame of an error is in a package."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and str(last.tb_frame.f_globals.get("__name__")).partition(".")[0] == package


def _no_reader(error: BaseException | None) -> bool:
    """Whether what reads our output has gone, as `| head` does; nothing more is written then."""
    by_rich = isinstance(error, SystemExit)  # it lets go of the output itself
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__cause__ or error.__context__
    if error is None or not (by_rich or _closed(sys.stdout.fileno())):
        return False  # another pipe's: of a process of ours
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    return True


def _closed(descriptor: int) -> bool:
    """Whether the other end of a pipe is closed."""
    asked = select.poll()
    asked.register(descriptor, select.POLLOUT)
    return any(event & select.POLLERR for _, event in asked.poll(0))


def _run(arguments: list[str]) -> int:
    """The exit code of one command."""
    from harness.ownership import check_ownership

    try:
        check_ownership()
        asked = next((word for word in arguments if not word.startswith("-")), "")
        code = command_tree(asked)(args=arguments, standalone_mode=False)
    except TruelineError as error:
        fail(error)
        return error.exit_code
    except Exception as error:
        message = getattr(error, "format_message", None)  # what typer says of a wrong command line
        if message is not None:
            fail(f"usage: {message()} | remedy: see `trueline --help`")
            return 2
        if type(error).__name__ == "Abort":  # what older ones have for it
            raise KeyboardInterrupt from error
        return _broken(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit of a user's code would be taken for a verdict; libraries in Rust panic
        return _broken(error)
    if code == INTERRUPTED:  # typer's word for an interrupt
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0
