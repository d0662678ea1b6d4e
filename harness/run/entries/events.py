"""Events that are no measure over a threshold; harness.measures.events tells what the value of each is."""

from __future__ import annotations

from harness.run.entries.making import NONFINITE, event_entry

__all__ = ["ENTRIES"]

ENTRIES = (
    event_entry("swing", "length", ("series_metrics", "swing_rate"), "swing",
           "Left-right movement of the offset with four or more turning points.", "overlap", banded=True,
           noise="swing_pp", below="swing_pp", needs_s=1.0),
    event_entry("flicker", "rate", ("series_metrics", "toggles_per_min"), "flicker",
           "A line that appears and disappears more often than the reference's.", "case"),
    event_entry("missing", "frames", ("frame_metrics", "missing"), "line missing",
           "The candidate has no partner for a line of the reference.", "length"),
    event_entry("extra", "frames", ("frame_metrics", "extra"), "extra line",
           "The candidate has a line that the reference has not.", "length"),
    event_entry("state_reset", "number", ("state_metrics", "reference"), "state reset",
           "A state that is fed back jumps from one frame to the next, in units of the reference's RMS.", "overlap"),
    event_entry("no_lines", "frames", ("frame_metrics", "lines"), "no lines at all",
           "The rung drew no line in any frame of the case.", "length"),
    event_entry("batch_rows", "length", ("frame_metrics", "lines"), "rows of a batch",
           "Lines of a frame in a batch (--batch) are elsewhere than those of the frame alone, by more than a finding.",
           "overlap", family="batch"),
    event_entry("batch_lines", "frames", ("frame_metrics", "lines"), "other lines in a batch",
           "Frames that have other lines in a batch (--batch) than alone.", "overlap", family="batch"),
    event_entry("nonfinite", "count", ("frame_metrics", "nonfinite"), "non-finite output", NONFINITE, "overlap"),
    event_entry("class_flip", "frames", ("line_metrics", "class_flip"), "class flip",
           "The matched line has another class than the reference's.", "length"),
    event_entry("id_swap", "count", ("line_metrics", "frame"), "track swap",
           "Two lines of the candidate change places.", "overlap"),
)  # fmt: skip
