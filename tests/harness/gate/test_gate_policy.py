from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import PolicyError, UnitMismatch, UsageError
from harness.gate import load_policy
from harness.gate.policy import Policy, Profile
from harness.run.catalogue import event_kinds, find_measure, measures
from harness.run.rungs import build_tree
from harness.run.tables import TABLES
from tests.harness.gate.gate_runs import GUARDS, baseline_text, policy_file, population_text, rule_text


def load(folder: Path, text: str, *, guards: bool = True) -> Policy:
    return load_policy(policy_file(folder, text, guards=guards))


def refused(folder: Path, text: str, kind: type[PolicyError] = PolicyError, *, guards: bool = True) -> str:
    with pytest.raises(kind) as caught:
        load(folder, text, guards=guards)
    assert str(folder) in caught.value.where
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_policy_keeps_what_it_says(tmp_path: Path) -> None:
    text = 'card = "model.toml"\ncases = "clips/*"\n[profile.cpu]\nengines = ["ort-fp32"]\npreprocess = "deploy"\n'
    policy = load(tmp_path, text + rule_text(band="near", note="why"))
    assert policy.name == "toy"
    assert policy.card == tmp_path / "model.toml"
    assert policy.cases == (str(tmp_path / "clips/*"),)
    assert policy.profile["cpu"].rungs == ("deploy/ort-fp32",)
    assert policy.rules[0].band == ("near",)
    assert [s.path.name for s in policy.sources] == ["toy.trueline.toml"]


def test_a_profile_expects_of_a_recording_what_the_car_ran(tmp_path: Path) -> None:
    """No replay builds `train/recorded`: expected all the same, it would be NOT_RUN for ever."""
    car = Profile(engines=("trt-fp16", "recorded:car", "recorded", "recorded@trt"))
    assert set(car.rungs) - {"train/trt-fp16"} == {f"deploy/{engine}" for engine in car.engines}
    with pytest.raises(ValueError, match="expects nothing that can run: recorded:car under train"):
        Profile(engines=("recorded:car",), preprocess=("train",))
    with pytest.raises(UsageError, match="train/recorded:car' is never run"):
        build_tree("train/recorded:car", ["ort-fp32"], ["train", "deploy"])
    built = {r.name for r in build_tree("train/trt-fp16", car.engines, car.preprocess)}
    assert built == set(car.rungs)


def test_every_metric_of_the_catalogue_is_a_column_of_its_table() -> None:
    for metric in measures().values():
        assert metric.column in TABLES[metric.table]
        assert "reference" in TABLES[metric.table] or not metric.has_reference
        of_itself = metric.name in ("lines", "reach")  # of what the rung drew, whatever its reference did
        assert of_itself or metric.has_reference == ("reference" in TABLES[metric.table])
        if metric.evidence is not None:
            assert metric.evidence[1] in TABLES[metric.evidence[0]]


def test_every_measure_with_a_threshold_has_an_event() -> None:
    with_threshold = {m.name for m in measures().values() if m.threshold is not None and m.kind == "value"}
    assert with_threshold
    assert with_threshold <= event_kinds().keys()
    assert all(
        m.quantity == find_measure(m.measured).quantity for m in event_kinds().values() if m.measured in with_threshold
    )


def test_a_metric_may_be_written_with_its_table() -> None:
    assert find_measure("line_metrics.bend") is find_measure("bend")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"bnad": "near"}, "rule 'bend'.bnad: unknown key"),
        ({"metric": "bent"}, "unknown metric 'bent', must be in ["),
        ({"metric": "event.swng", "limit": "0"}, "unknown metric 'event.swng'"),
        ({"metric": "nonfinite", "limit": "0"}, "frame_metrics.nonfinite or tensor_metrics.nonfinite"),
        ({"metric": "swing_hz"}, "unknown metric 'swing_hz'"),
        ({"metric": "event.flicker", "statistic": "count", "limit": "0", "band": "far"}, "event.flicker has no bands"),
        ({"statistic": "median"}, "statistic: Input should be"),
        (
            {"statistic": "min"},
            "statistic of bend must be in ['max', 'mean', 'p50', 'p95', 'p99', 'sustained'] (got 'min')",
        ),
        ({"metric": "coverage", "limit": "80 %"}, "statistic of coverage must be in ['min', 'mean'"),
        ({"statistic": "share", "limit": "1 %"}, "statistic of bend must be in"),
        ({"limit": "0.15 ell"}, "unknown unit 'ell'"),
        ({"limit": "lots"}, "a limit must be written like '0.15 m'"),
        ({"limit": ">= 0.15 m"}, "limit of bend cannot be >=: more is worse"),
        (
            {"metric": "coverage", "statistic": "min", "limit": "<= 80 %"},
            "limit of coverage cannot be <=: less is worse",
        ),
        ({"band": "nearby"}, "band"),
        ({"metric": "missing", "limit": "1 lines", "band": "near"}, "missing has no bands"),
        ({"output": "lanes"}, "bend has no outputs"),
        ({"metric": "p99_ms", "limit": "5 ms", "reference": "parent"}, "p99_ms is not compared with a reference"),
        ({"allowed_share": 0.1}, "allowed_share has no meaning with scope 'each'"),
        ({"min_cases": 9}, "min_cases has no meaning with scope 'each'"),
        ({"id": "a b"}, "id: String should match pattern"),
        ({"limit": None}, "rule 'bend'.limit: Field required"),
        ({"required": "perhaps"}, "required: Input should be a valid boolean"),
    ],
)
def test_a_rule_that_makes_no_sense_says_so_in_one_line(tmp_path: Path, keys: dict[str, object], words: str) -> None:
    assert words in refused(tmp_path, rule_text(**keys))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (population_text(statistic="max"), "'max' belongs to scope 'each'"),
        (population_text(allowed_share=None), "scope 'population' needs allowed_share"),
        (population_text(allowed_share=0), "allowed_share: Input should be greater than 0"),
        (population_text(confidence=1.0), "confidence: Input should be less than 1"),
        (population_text(min_cases=1), "min_cases: Input should be greater than or equal to 2"),
        (baseline_text(allowed_share=None), "needs allowed_share, the share of drives that may be worse"),
        (baseline_text(metric="p99_ms", limit="1 ms"), "depends on the machine"),
        (baseline_text(metric="coverage", limit=">= 1 %"), "cannot be >=: a larger worsening is worse"),
    ],
)
def test_population_rules_need_what_inference_needs(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("keys", "quantity"),
    [
        ({"limit": "3 deg"}, "max of bend measures length"),
        ({"limit": "0.15"}, "max of bend measures length"),
        ({"metric": "kink"}, "max of kink measures angle"),
        (
            {"metric": "missing", "statistic": "rate_per_min", "limit": "3 lines"},
            "rate_per_min of missing measures rate",
        ),
        ({"metric": "event.swing", "statistic": "count", "limit": "0.2 m"}, "count of event.swing measures count"),
    ],
)
def test_a_limit_in_another_unit_than_its_metric_is_a_unit_mismatch(
    tmp_path: Path, keys: dict[str, object], quantity: str
) -> None:
    message = refused(tmp_path, rule_text(**keys), UnitMismatch)
    assert quantity in message
    assert "rule 'bend', limit" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 3\n" + rule_text(), "colour: unknown key"),
        ("schema = 2\n" + rule_text(), "schema: Input should be 1"),
        ('reference = "torch"\n' + rule_text(), "reference: String should match pattern"),
        ("[profile.cpu]\nengines = []\n" + rule_text(), "profile.cpu.engines: Value should have at least 1 item"),
        ('[profile.cpu]\nengine = "a"\n' + rule_text(), "profile.cpu.engine: unknown key"),
        (rule_text() + rule_text(), "two rules have the id 'bend'"),
        (
            '[profile.cpu]\nengines = ["ort-fp32"]\n' + rule_text(rung="deploy/trt-*"),
            "matches none that a profile expects",
        ),
        ("rules = 3\n", "rules"),
        ("sources = []\n" + rule_text(), "sources"),
        ("extends = 3\n" + rule_text(), "extends: must be a path"),
    ],
)
def test_a_policy_that_makes_no_sense_says_so_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text, guards="[[rules]]" in text)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "colour = 3\n" + rule_text(limit=None, bnad=1))
    assert "colour" in message
    assert "limit" in message
    assert "bnad" in message


def test_a_policy_without_rules_is_refused(tmp_path: Path) -> None:
    assert "rules" in refused(tmp_path, "schema = 1\n", guards=False)


def test_a_missing_file_and_a_broken_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no policy"):
        load_policy(tmp_path / "none.trueline.toml")
    assert "not TOML" in refused(tmp_path, "rules = [", guards=False)
    (tmp_path / "binary.trueline.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="not TOML"):
        load_policy(tmp_path / "binary.trueline.toml")


@pytest.mark.parametrize("metric", ["bend", "bend_rms", "line_metrics.bend", "event.bend"])
def test_bend_is_limited_only_beside_missing_extra_and_coverage(tmp_path: Path, metric: str) -> None:
    keys = {"statistic": "count", "limit": "0"} if metric.startswith("event") else {}
    message = refused(tmp_path, rule_text(metric=metric, **keys), guards=False)
    assert "so missing, extra, coverage must be limited too" in message
    load(tmp_path, rule_text(metric=metric, **keys))


def test_kink_needs_no_guards(tmp_path: Path) -> None:
    load(tmp_path, rule_text(metric="kink", limit="3 deg"), guards=False)


@pytest.mark.parametrize(
    "change",
    [
        ('rung = "*"', 'rung = "train/*"'),
        ('rung = "*"', 'rung = "deploy/ort-*"'),
        ('rung = "*"', 'rung = "deploy/?*"'),
        ('rung = "*"', 'rung = "*"\nrequired = false'),
        ('rung = "*"', 'rung = "*"\ncases = "highway_*"'),
        ('rung = "*"', 'rung = "*"\ntags = "night"'),
        ('rung = "*"', 'rung = "*"\nreference = "parent"'),
    ],
)
def test_a_guard_that_looks_at_less_than_the_bend_rule_is_no_guard(tmp_path: Path, change: tuple[str, str]) -> None:
    guards = GUARDS.replace(*change)
    assert "must be limited too" in refused(tmp_path, rule_text() + guards, guards=False)


def test_a_coverage_rule_of_another_band_is_no_guard(tmp_path: Path) -> None:
    guards = GUARDS.replace('metric = "coverage"', 'metric = "coverage"\nband = "near"')
    load(tmp_path, rule_text(band="near") + guards, guards=False)
    for band in (["near", "mid"], "far", None):
        assert "so coverage must" in refused(tmp_path, rule_text(band=band) + guards, guards=False)


def test_an_advisory_bend_rule_may_have_advisory_guards(tmp_path: Path) -> None:
    guards = GUARDS.replace('rung = "*"', 'rung = "*"\nrequired = false')
    load(tmp_path, rule_text(required=False) + guards, guards=False)
