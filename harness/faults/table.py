"""The table of faults: ours, and those that other packages add by the entry-point group `trueline.faults`.

What an entry point names is a `Fault`, or a list of them.
"""

from __future__ import annotations

from engines.foreign import outside
from harness.errors import FaultError
from harness.faults import car, decoding, export, numerics, preprocess, runtime
from harness.faults.graphs import Editor
from harness.faults.openers import in_file
from harness.faults.protocol import Fault

__all__ = ["ENTRY_POINTS", "FAULTS", "all_faults"]

ENTRY_POINTS = "trueline.faults"
_on, _re, _put = preprocess.on, preprocess.rewriting, preprocess.inserted


def _rewriting(name: str, summary: str, rewrite: preprocess.Rewrite, *diagnosis: str) -> Fault:
    return Fault(name, "preprocess", summary, _re(name, rewrite), diagnosis=diagnosis)


_PREPROCESS = (
    _rewriting("rb_swap", "red and blue swapped", preprocess.other_colours, "channel_order"),
    _rewriting("range_mismatch", "limited range read as full", preprocess.other_range, "range"),
    _rewriting("matrix_mismatch", "BT.601 read as BT.709", preprocess.other_matrix, "matrix"),
    _rewriting("nearest_resize", "nearest-pixel resize", _on("resize", kernel="nearest", antialias=False), "kernel"),
    _rewriting("cubic_resize", "cubic resize", _on("resize", kernel="cubic", antialias=False), "kernel"),
    _rewriting(
        "antialias_mismatch", "resize smooths where training did not, or not", preprocess.other_antialias, "antialias"
    ),
    _rewriting("half_pixel_shift", "resize from corners", preprocess.other_coordinates, "coordinates", "shift", "crop"),
    _rewriting("letterbox", "fitted in with bars instead of stretched", preprocess.letterboxed, "letterbox"),
    _rewriting("truncated", "fractions cut off instead of rounded", _on("round_u8", rounding="truncate"), "rounding"),
    _rewriting("missing_255", "0 to 255 fed where 0 to 1 is expected", _on("normalise", scale=1.0), "scale"),
    _rewriting("doubled_255", "divided by 255 twice", preprocess.doubled_scale, "scale"),
    _rewriting("wrong_mean_std", "mean and std of another data set", preprocess.imagenet_statistics, "normalisation"),
    _rewriting("missing_mean_std", "mean and std left out", preprocess.no_statistics, "normalisation"),
    Fault("crop_off", "preprocess", "crop four rows off", preprocess.crop_off, 16, diagnosis=("crop",)),
    Fault("subpixel_shift", "preprocess", "picture 1.5 px to the right",
        _put("subpixel_shift", "shifted", lambda s: {"right_px": 1.5 * s}), 32, diagnosis=("shift",)),
    Fault("row_stride", "preprocess", "rows begin 0.05 px later each",
        _put("row_stride", "sheared", lambda s: {"px_per_row": 0.05 * s}), 20),
    Fault("other_camera", "preprocess", "picture of a camera with 5 % more focal length",
        _put("other_camera", "zoomed", lambda s: {"factor": 1 + 0.05 * s}), 10, diagnosis=("zoom",)),
    Fault("missing_undistortion", "preprocess", "a lens of k1 = -0.1 not taken out",
        _put("missing_undistortion", "distorted", lambda s: {"k1": -0.1 * s}), 5, diagnosis=("undistort",)),
    Fault("gamma", "preprocess", "gamma of 1.8 applied once more",
        _put("gamma", "gamma", lambda s: {"exponent": 1 + 0.8 * s}), 4, diagnosis=("gamma",)),
    Fault("underexposed", "preprocess", "40 % of the light",
        _put("underexposed", "brightened", lambda s: {"gain": 1 - 0.6 * s}), 1.6),
    Fault("jpeg", "preprocess", "through JPEG of quality 20",
        _put("jpeg", "jpeg", lambda s: {"quality": max(round(100 - 80 * s), 1)}), 1.2, diagnosis=("jpeg",)),
    Fault("colour_lost", "preprocess", "chroma planes not read",
        _put("colour_lost", "desaturated", lambda s: {"share": s})),
    Fault("blurred", "preprocess", "a blur of 2 px", _put("blurred", "blurred", lambda s: {"sigma_px": 2 * s}), 8),
    Fault("flipped", "preprocess", "left and right exchanged",
        _put("flipped", "flipped", lambda s: {"share": s}), diagnosis=("flip",)),
    Fault("layout_misread", "preprocess", "NHWC read as NCHW",
        _put("layout_misread", "misread", lambda s: {"share": s}), diagnosis=("layout",)),
    Fault("stale_frame", "preprocess", "picture of three frames ago",
        _put("stale", "Stale", lambda s: {"frames": round(3 * s)}, first=True), 5, diagnosis=("lag",)),
    Fault("held_frames", "preprocess", "every picture shown for four frames",
        _put("held", "Held", lambda s: {"frames": 1 + round(3 * s)}, first=True), 5, diagnosis=("stale",)),
)  # fmt: skip


def _in_file(name: str, stage: str, summary: str, edit: Editor, most: float = 1.0) -> Fault:
    return Fault(name, stage, summary, in_file(name, stage, edit), most)


_EXPORT = (
    Fault("batchnorm_training", "export", "exported in training mode", export.batchnorm_training),
    Fault("wrong_checkpoint", "export", "exported from another checkpoint", export.wrong_checkpoint, 8),
    _in_file("dropout_left_on", "export", "dropout frozen into the file", export.dropout_left_on, 3),
    _in_file("missing_sigmoid", "export", "the last sigmoid left out", export.missing_sigmoid),
    _in_file("missing_activation", "export", "an activation left out", export.missing_activation),
    _in_file("flipped_kernels", "export", "kernels of one layer back to front", export.flipped_kernels),
    _in_file("swapped_axes", "export", "height and width of one layer exchanged", export.swapped_axes),
    _in_file("pruned", "export", "the smallest half of the weights set to zero", export.pruned, 2),
    _in_file("normalised_twice", "export", "normalisation baked in, done by the pipeline too", export.normalised_twice),
    _in_file("shifted_padding", "export", "padding on one side only", export.shifted_padding),
    Fault("state_not_reset", "export", "state kept from case to case", decoding.state_fault("state_not_reset")),
    Fault("state_lost", "export", "state begins anew at every frame", decoding.state_fault("state_lost")),
    Fault("stale_state", "export", "state of three frames ago", decoding.state_fault("stale_state")),
)
_NUMERICS = (
    _in_file("fp16_overflow", "numerics", "values above 65504", numerics.fp16_overflow, 2),
    _in_file("fp16_underflow", "numerics", "values below 6e-8", numerics.fp16_underflow, 2),
    _in_file("fp16_coordinates", "numerics", "coordinates far from their origin", numerics.fp16_coordinates, 16),
    _in_file("fp16_epsilon", "numerics", "an epsilon that becomes 0", numerics.fp16_epsilon),
    _in_file("naive_softmax", "numerics", "exponents without the largest taken off", numerics.naive_softmax, 2),
    _in_file("coarse_weights", "numerics", "weights with 3 bits of mantissa", numerics.coarse_weights, 1.3),
    _in_file("weights_flushed", "numerics", "small weights taken for 0", numerics.weights_flushed, 16),
    Fault("fp16_accumulation", "numerics", "sums kept in fp16", numerics.fp16_accumulation, 2),
)
_ENGINE = (
    _in_file("int8_weights", "engine", "8-bit weights, one scale a tensor", runtime.int8_weights, 4),
    _in_file("clipped_activations", "engine", "int8 range from dull pictures", runtime.clipped_activations, 8),
    _in_file("dropped_bias", "engine", "a fused bias lost", runtime.dropped_bias),
    _in_file("dropped_scale", "engine", "a layer half as strong", runtime.dropped_scale, 2),
    _in_file("lost_activation", "engine", "a fused activation lost", runtime.lost_activation),
    Fault("noisy_outputs", "engine", "noise of 2 % in the outputs", runtime.changing("noisy", runtime.noisy), 16),
    Fault("wrong_batch_row", "engine", "the frame before's outputs", runtime.changing("row", runtime.previous_row)),
    Fault("raced_outputs", "engine", "outputs read too early", runtime.changing("raced", runtime.raced), 3),
    Fault(
        "partly_written", "engine", "the end of outputs missing", runtime.changing("part", runtime.partly_written), 9
    ),
    Fault(
        "swapped_slots", "engine", "outputs bound in another order", runtime.changing("slots", runtime.swapped_slots)
    ),
)
_CAR = (
    Fault("dropped_frames", "car", "frames lost in the recording", car.recording(car.dropped), 6),
    Fault("repeated_frames", "car", "every result sent for four frames", car.recording(car.repeated), 5),
    Fault("late_results", "car", "results three frames late", car.recording(car.late), 5),
    Fault("far_bow", "car", "lines bow by 0.2 m in the far band", car.moving("far_bow", car.far_bow), 8),
    Fault("swing_1hz", "car", "lines swing by 0.4 m at 1 Hz", car.moving("swing_1hz", car.swing_1hz), 8),
    Fault("aside", "car", "lines 0.2 m aside", car.moving("aside", car.aside), 8),
    Fault("turned", "car", "lines turned by 1 degree", car.moving("turned", car.turned), 8),
    Fault("shaken", "car", "lines jump by 0.1 m from frame to frame", car.moving("shaken", car.shaken), 8),
)
_DECODER = (
    Fault("other_threshold", "decoder", "a higher least score",
        decoding.decoding("other_threshold", decoding.other_threshold)),
    Fault("logits_for_probabilities", "decoder", "a sigmoid too much or too few",
        decoding.decoding("logits_for_probabilities", decoding.logits_for_probabilities)),
    Fault("other_axes", "decoder", "forward and left exchanged", decoding.decoding("other_axes", decoding.other_axes)),
    Fault("other_homography", "decoder", "mask 3 % of the width aside",
        decoding.decoding("other_homography", decoding.other_rows), 8),
)  # fmt: skip
FAULTS: dict[str, Fault] = {f.name: f for f in (*_PREPROCESS, *_EXPORT, *_NUMERICS, *_ENGINE, *_CAR, *_DECODER)}


def all_faults() -> dict[str, Fault]:
    """Ours and those of other packages.

    Raises:
        FaultError: an entry point that does not load, gives no faults, or a name that is taken.
    """
    from importlib.metadata import entry_points

    found = dict(FAULTS)
    for entry in entry_points(group=ENTRY_POINTS):
        where = f"entry point {ENTRY_POINTS}, {entry.name} = {entry.value}"
        with outside(lambda cause, where=where: FaultError(cause, where=where, remedy="fix or uninstall the package")):  # type: ignore[misc]  # a default binds now
            loaded = entry.load()
        given = [loaded] if isinstance(loaded, Fault) else list(loaded)
        for fault in given:
            if not isinstance(fault, Fault) or fault.name in found:
                raise FaultError(
                    f"{fault!r} is no fault, or its name is taken", where=where, remedy="see docs/faults.md"
                )
            found[fault.name] = fault
    return found
