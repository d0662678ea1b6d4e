"""Other processes: starting them, talking to them in tensors with a time limit, and saying how they ended.

    pipes     bytes through a pipe, with a deadline
    process   one process and the end of what it printed
    mailbox   memory that two processes share, for tensors that should not go through a pipe
    messages  models, cases and errors as JSON
    serve     the inside of an isolated engine's process (engines/isolate.py is its outside)

POSIX only. Nothing here pickles: a crashed or hostile child can at most send wrong numbers.
"""

from __future__ import annotations
