from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import PolicyError
from harness.gate import load_policy
from harness.gate.policy import Policy
from tests.harness.gate.gate_runs import GUARDS, baseline_text, policy_file, population_text, rule_text

EXTENDS = 'extends = "base.trueline.toml"\n'


def extend(folder: Path, base: str, child: str) -> Policy:
    policy_file(folder, base, name="base.trueline.toml")
    return load_policy(policy_file(folder, EXTENDS + child, name="child.trueline.toml", guards=False))


def refused(folder: Path, base: str, child: str) -> str:
    with pytest.raises(PolicyError) as caught:
        extend(folder, base, child)
    return str(caught.value)


def override(**keys: object) -> str:
    return "[[rules]]\n" + "\n".join(f"{k} = {v}" for k, v in ({"id": '"bend"'} | keys).items()) + "\n"


def test_a_policy_inherits_every_rule_and_adds_its_own(tmp_path: Path) -> None:
    policy = extend(tmp_path, rule_text(), rule_text(id="kink", metric="kink", limit="3 deg"))
    assert [r.id for r in policy.rules] == ["bend", "missing", "extra", "coverage", "kink"]
    assert [s.path.name for s in policy.sources] == ["child.trueline.toml", "base.trueline.toml"]
    assert policy.name == "child"


def test_an_override_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    policy = extend(tmp_path, rule_text(band="near"), override(limit='"12 cm"', note='"stricter"'))
    rule = policy.rules[0]
    assert (str(rule.limit), rule.band, rule.statistic, rule.note) == ("12 cm", ("near",), "max", "stricter")


@pytest.mark.parametrize(
    ("base", "tighter", "looser"),
    [
        (rule_text(), {"limit": '"0.1 m"'}, {"limit": '"0.2 m"'}),
        (rule_text(), {"limit": '"15 cm"'}, {"limit": '"15.1 cm"'}),
        (rule_text(required=False), {"required": "true"}, {}),
        (rule_text(), {}, {"required": "false"}),
        (population_text(), {"allowed_share": "0.4"}, {"allowed_share": "0.6"}),
        (population_text(), {"min_cases": "20"}, {"min_cases": "7"}),
        (population_text(), {"confidence": "0.99"}, {"confidence": "0.9"}),
        (baseline_text(), {"limit": '"0.005 m"'}, {"limit": '"0.02 m"'}),
        (baseline_text(), {"limit": '"-0.005 m"'}, {"limit": '"0.011 m"'}),
    ],
)
def test_an_inherited_limit_is_a_ceiling(
    tmp_path: Path, base: str, tighter: dict[str, object], looser: dict[str, object]
) -> None:
    if tighter:
        extend(tmp_path, base, override(**tighter))
    if looser:
        assert "is looser than the" in refused(tmp_path, base, override(**looser))


def test_for_coverage_the_ceiling_is_a_floor(tmp_path: Path) -> None:
    base = rule_text(id="cover", metric="coverage", statistic="min", limit=">= 80 %")
    extend(tmp_path, base, override(id='"cover"', limit='">= 0.9"'))
    assert "looser" in refused(tmp_path, base, override(id='"cover"', limit='">= 70 %"'))


def test_the_allowed_worsening_of_coverage_tightens_downwards(tmp_path: Path) -> None:
    base = baseline_text(id="cover", metric="coverage", limit="2 %")
    extend(tmp_path, base, override(id='"cover"', limit='"1 %"'))
    assert "looser" in refused(tmp_path, base, override(id='"cover"', limit='"3 %"'))


@pytest.mark.parametrize(
    "keys",
    [
        {"rung": '"deploy/ort-*"'},
        {"metric": '"kink"'},
        {"statistic": '"p50"'},
        {"band": '"far"'},
        {"cases": '"easy_*"'},
        {"tags": '"day"'},
        {"reference": '"parent"'},
        {"scope": '"population"'},
    ],
)
def test_an_override_cannot_look_elsewhere(tmp_path: Path, keys: dict[str, object]) -> None:
    assert f"an override cannot change {next(iter(keys))}" in refused(tmp_path, rule_text(), override(**keys))


def test_an_override_in_an_incomparable_unit_is_refused(tmp_path: Path) -> None:
    assert "cannot tell whether" in refused(tmp_path, rule_text(limit="0.5 %h"), override(limit='"2 px"'))


def test_ceilings_hold_over_several_generations(tmp_path: Path) -> None:
    policy_file(tmp_path, rule_text(), name="root.trueline.toml")
    middle = 'extends = "root.trueline.toml"\n' + override(limit='"0.10 m"')
    policy_file(tmp_path, middle, name="base.trueline.toml", guards=False)
    child = policy_file(tmp_path, EXTENDS + override(limit='"0.12 m"'), name="child.trueline.toml", guards=False)
    with pytest.raises(PolicyError, match="looser"):
        load_policy(child)


@pytest.mark.parametrize(
    ("base", "child"),
    [
        ('reference = "train/torch-fp32"\n', 'reference = "deploy/torch-fp32"\n'),
        ("noise_factor = 4\n", "noise_factor = 2\n"),
        ("", "noise_factor = 2\n"),
        ("min_frames_share = 0.9\n", "min_frames_share = 0.5\n"),
        ("", "min_frames_share = 0.5\n"),
        ('[profile.car]\nengines = ["ort-fp32", "x"]\n', '[profile.car]\nengines = ["ort-fp32"]\n'),
        ('[profile.car]\nengines = ["x"]\n', '[profile.car]\nengines = ["x"]\npreprocess = ["deploy"]\n'),
    ],
)
def test_what_surrounds_the_rules_is_not_loosened_either(tmp_path: Path, base: str, child: str) -> None:
    assert "is looser than the" in refused(tmp_path, base + rule_text(), child)


def test_profiles_may_be_added_and_widened(tmp_path: Path) -> None:
    base = '[profile.car]\nengines = ["ort-fp32"]\n' + rule_text()
    child = '[profile.car]\nengines = ["ort-fp32", "x"]\n[profile.lab]\nengines = "y"\n'
    assert set(extend(tmp_path, base, child).profile) == {"car", "lab"}


def test_paths_belong_to_the_file_that_states_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    policy_file(tmp_path / "sub", 'card = "model.toml"\n' + rule_text(), name="base.trueline.toml")
    child = policy_file(tmp_path, 'extends = "sub/base.trueline.toml"\ncases = ["clips/*"]\n', guards=False)
    policy = load_policy(child)
    assert policy.card == tmp_path / "sub" / "model.toml"
    assert policy.cases == (str(tmp_path / "clips/*"),)


def test_a_circle_is_an_error(tmp_path: Path) -> None:
    path = policy_file(tmp_path, EXTENDS, name="base.trueline.toml", guards=False)
    with pytest.raises(PolicyError, match="it extends itself"):
        load_policy(path)


def test_a_missing_base_names_its_path(tmp_path: Path) -> None:
    path = policy_file(tmp_path, EXTENDS + GUARDS, guards=False)
    with pytest.raises(PolicyError, match="no policy") as caught:
        load_policy(path)
    assert caught.value.where == str(tmp_path / "base.trueline.toml")


def test_a_base_may_lean_on_its_children_for_guards(tmp_path: Path) -> None:
    policy_file(tmp_path, rule_text(), name="base.trueline.toml", guards=False)
    load_policy(policy_file(tmp_path, EXTENDS, name="child.trueline.toml"))
    with pytest.raises(PolicyError, match="must be limited too"):
        load_policy(tmp_path / "base.trueline.toml")


@pytest.mark.parametrize("child", ["rules = 3\n", "profile = 3\n", "rules = [3]\n"])
def test_broken_tables_are_errors_not_tracebacks(tmp_path: Path, child: str) -> None:
    assert "must be tables" in refused(tmp_path, rule_text(), child)


def test_a_broken_override_names_its_rule(tmp_path: Path) -> None:
    message = refused(tmp_path, rule_text(), override(limit='"3 deg"'))
    assert "UnitMismatch" in message
    assert "rule 'bend'" in message


def test_teams_are_inherited_and_may_be_named_anew(tmp_path: Path) -> None:
    base = rule_text() + '\n[teams]\npreprocess = "camera"\nengine = "runtime"\n'
    policy = extend(tmp_path, base, '[teams]\nengine = "deployment"\n')
    assert policy.teams == {"preprocess": "camera", "engine": "deployment"}
    assert "must be in" in refused(tmp_path, rule_text(), '[teams]\nresize = "camera"\n')
