"""What the tests share of the exporter is what the exporter itself writes, and never that of another network."""

from __future__ import annotations

from dataclasses import replace

from engine_models import save_weights

from engines import export, exporters
from engines.export import export_warnings, exported
from engines.protocol import ExportTarget
from tests.shared_exports import remembered

QUICK = {"default": ExportTarget("legacy", 17)}


def test_what_is_remembered_is_what_the_exporter_wrote(card, monkeypatch, tmp_path):
    source, runs = card(export=QUICK), []

    def counted(*args):
        runs.append(args)
        return exporters.run_exporter(*args)

    monkeypatch.setattr(export, "run_exporter", remembered(counted, tmp_path / "kept"))
    found = [exported(replace(source, cache=tmp_path / name)) for name in "ab"]
    assert len(runs) == 1
    assert found[0].read_bytes() == found[1].read_bytes()
    assert export_warnings(found[0]) == export_warnings(found[1])
    exported(replace(source, cache=tmp_path / "c"), optimize=False)
    assert len(runs) == 2
    save_weights(tmp_path / "other.safetensors", seed=5)
    other = replace(source, cache=tmp_path / "d", weights=tmp_path / "other.safetensors")
    assert exported(other).read_bytes() != found[0].read_bytes()
    assert len(runs) == 3
