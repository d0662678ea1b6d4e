"""Measures of states, tensors, speed and truth."""

from __future__ import annotations

from harness.run.entries.making import COST, NONFINITE, TIME, tensor_entry
from harness.run.measure import Measure

__all__ = ["ENTRIES"]

ENTRIES = (
    Measure(
        "state.growth", "state_metrics", "growth", "number", "state growth",
        "How the divergence of a recurrent model goes with the steps n of a case, as the exponent of n: 0 stays where "
        "it is, 0.5 a random walk, 1 a steady drift, more where errors are amplified.", TIME, noise="state.growth",
    ),
    tensor_entry("max_abs", "number", "largest tensor difference", "Largest difference of an output tensor.",
            has_floor=True),
    tensor_entry("mean_abs", "number", "mean tensor difference", "Mean absolute difference of an output tensor."),
    tensor_entry("p99_abs", "number", "p99 tensor difference", "99th percentile of an output tensor's differences."),
    tensor_entry(
        "rel_rms", "number", "tensor error",
        "RMS of the difference of an output tensor, relative to the RMS of the reference's.",
        group=COST, has_floor=True,
    ),
    tensor_entry("cosine", "number", "cosine", "Cosine of the angle between two output tensors.",
            higher_is_worse=False, best=1.0),
    tensor_entry("snr_db", "level", "signal to noise",
            "Power of the reference's tensor over that of the difference, 150 dB at most.",
            higher_is_worse=False, best=150.0),
    tensor_entry("ulp_p99", "ulp", "p99 of ulps", "99th percentile of the differences in units of the last place.",
            has_floor=True),
    Measure(
        "tensor_metrics.nonfinite", "tensor_metrics", "nonfinite", "count", "non-finite numbers", NONFINITE, "",
        "counter", family="nonfinite",
    ),
    Measure(
        "p50_ms", "latency", "p50_ms", "time", "median latency",
        "Median time of one inference on the machine that replayed.", COST, has_reference=False, comparable=False,
    ),
    Measure(
        "p99_ms", "latency", "p99_ms", "time", "p99 latency",
        "99th percentile of the time of one inference on the machine that replayed.", "", has_reference=False,
        comparable=False,
    ),
    Measure(
        "lateral_mae", "accuracy", "lateral_mae", "length", "lateral MAE",
        "Mean absolute lateral distance to the ground truth, where a case has one.", COST, has_reference=False,
        has_band=True, needs_eyes=True,
    ),
    Measure(
        "lateral_cost", "accuracy", "lateral_cost", "length", "lateral cost",
        "Mean lateral distance to the ground truth up to the match gate, over the stations that truth or model has; "
        "one that only one of them has counts the gate, so that a line that is left out is no gain.", "",
        has_reference=False, has_band=True, needs_eyes=True,
    ),
    Measure(
        "lateral_skill", "accuracy", "lateral_skill", "share", "lateral skill",
        "1 less lateral cost over that of the best lines that never move: 1 is perfect, 0 a network that sees nothing. "
        "Without a value where the truth hardly moves.", "",
        higher_is_worse=False, best=1.0, has_reference=False, has_band=True, optional=True, of_case=True,
        needs_eyes=True,
    ),
    *(
        Measure(
            name, "accuracy", name, "share", f"{name} lines",
            f"Share of the true lines of two frames after one another that the model finds in {where} of them, within "
            "0.5 m Chamfer distance.", "",
            higher_is_worse=name != "stable", best=float(name == "stable"), has_reference=False, has_band=True,
            needs_eyes=True,
        )
        for name, where in (("stable", "both"), ("flickering", "one"), ("missed", "neither"))
    ),
    *(
        Measure(
            name, "accuracy", name, "share", label,
            f"Area under precision over recall of whole lines in the order of their scores, mean of 0.5, 1 and 1.5 m "
            f"Chamfer distance{but}.", "",
            higher_is_worse=False, best=1.0, has_reference=False, has_band=True, needs_eyes=True,
        )
        for name, label, but in (
            ("average_precision", "average precision", ""),
            ("consistent_precision", "consistent average precision",
             "; a line that finds a true line which another slot or track had first is false"),
        )
    ),
    *(
        Measure(
            name, "accuracy", name, "share", f"F1 at {gate} m",
            f"F1 of whole lines against the ground truth, matched within {gate} m Chamfer distance.", "",
            higher_is_worse=False, best=1.0, has_reference=False, has_band=True, needs_eyes=True,
        )
        for name, gate in (("f1_05", 0.5), ("f1_10", 1.0), ("f1_15", 1.5))
    ),
)  # fmt: skip
