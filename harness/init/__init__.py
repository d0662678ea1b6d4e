"""`trueline init`: a first card, policy and cases for a model and videos that Trueline has never seen.

What the file itself says is taken; what shapes and a few trial frames suggest is a guess with its evidence, listed in
the card under `unconfirmed`; what nothing suggests is asked. docs/init.md has the questions.
"""

from harness.init.guess import Guess
from harness.init.project import Project, init_project

__all__ = ["Guess", "Project", "init_project"]
