"""Candidates side by side: clean, robust, deployable, and which of them may be chosen (docs/leaderboard.md).

column     one number of a candidate, drive by drive, and whether two candidates are told apart by it
candidate  what a run, its verdict and its sweep say of one candidate
board      the Pareto front of those that pass, and the best one if there is one;  view: for people
"""

from __future__ import annotations

from harness.leaderboard.board import Board, leaderboard

__all__ = ["Board", "leaderboard"]
