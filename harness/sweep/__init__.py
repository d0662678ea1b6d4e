"""The perturbation sweep: how far do the lines move when the camera's picture is disturbed a little (docs/sweep.md)?

perturbation  what one is;  table: all of them, with their five severities
photometric   of colours and sharpness;  geometric: of where things lie;  timing: of when pictures come
pictures      making a change to a picture in the format it was recorded in;  lens: pixels, rays, ground
disturbance   perturbations of some amount, together, on every picture of a case
expected      where lines truly go when the picture moves: taken back before anything is measured
cell          one perturbation of one severity on one case;  measuring: its numbers, by the run's own measures
sweep         all cells, and how a stopped sweep goes on;  summary: what they say together;  search: the worst one
"""

from __future__ import annotations

from harness.sweep.sweep import Sweep, sweep
from harness.sweep.table import PERTURBATIONS

__all__ = ["PERTURBATIONS", "Sweep", "sweep"]
