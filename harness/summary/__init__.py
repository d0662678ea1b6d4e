"""A verdict and its explanation together, for people and for CI: one block for one cause, failures first.

blocks    what did not pass, gathered by the cause that it has
again     the command that replays just the frames of a block
text      for the terminal
markdown  for a pull request
github    annotations of a GitHub workflow
junit     JUnit XML, each failure with the step it is blamed on
schema    the JSON schema of verdict.json
"""

from __future__ import annotations

from harness.summary.blocks import Block, blocks_of
from harness.summary.github import github_annotations
from harness.summary.junit import write_junit
from harness.summary.markdown import markdown, write_markdown
from harness.summary.text import render

__all__ = ["Block", "blocks_of", "github_annotations", "markdown", "render", "write_junit", "write_markdown"]
