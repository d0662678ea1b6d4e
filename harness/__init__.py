"""Lines, decoding, preprocessing, replay, metrics, ladder, faults, gate, report, CLI and pytest plugin."""
