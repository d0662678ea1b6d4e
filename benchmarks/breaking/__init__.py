"""Trueline broken on purpose: `python -m benchmarks.breaking` (not in CI; `--quick` for a tenth).

    kills     commands ended by SIGKILL at any moment, then run again: equal results, nothing left over
    fuzz      damaged files of every kind that is read: an error of ours in one line, or a result, in bounded time
    machine   no room on the disk, little memory, few descriptors, two writers
    engines   programs and engines that crash, hang, leak or lie: their rung alone is lost

A trial that went well is not run again: the results lie in a file, and a second run goes on. What is survived is no
foreign traceback, no result that differs from an undisturbed one, no leftover, no hang.
"""
