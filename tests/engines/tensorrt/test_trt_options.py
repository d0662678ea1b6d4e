from pathlib import Path

import pytest

from engines.errors import EngineOptionError
from engines.tensorrt.options import Options, parse_options


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.file"
    path.write_bytes(b"x")
    return path


def test_nothing_given_means_every_default():
    assert parse_options("trt-fp16", {}) == Options()


def test_values_of_a_configuration_file_become_what_the_engine_uses(file):
    options = parse_options(
        "trt-fp16",
        {
            "calibration": str(file),
            "profiles": {"batch": [1, 2, 8], "width": 640},
            "builder_flags": ["STRICT_NANS"],
            "tactic_sources": ["CUDNN", "CUBLAS"],
            "tf32": False,
            "workspace_mib": 512,
        },
    )
    assert options.calibration == file
    assert options.profiles == {"batch": (1, 2, 8), "width": (640, 640, 640)}
    assert options.builder_flags == ("STRICT_NANS",)
    assert options.tactic_sources == ("CUDNN", "CUBLAS")
    assert options.tf32 is False


WRONG = [
    ({"calibration": 3}, "option 'calibration' must be the path of a file (got 3)"),
    ({"calibration_cache": "absent.cache"}, "option 'calibration_cache' names no file: absent.cache"),
    ({"plan": Path("absent.plan")}, "option 'plan' names no file: absent.plan"),
    ({"profiles": [1, 2, 3]}, "option 'profiles' must be a table (got [1, 2, 3])"),
    ({"profiles": {"batch": [1, 2]}}, "option 'profiles.batch' must be (smallest, best, largest) sizes (got [1, 2])"),
    ({"profiles": {"batch": [4, 2, 8]}}, "option 'profiles.batch' must be"),
    ({"profiles": {"batch": [0, 1, 8]}}, "option 'profiles.batch' must be"),
    ({"profiles": {"batch": "n"}}, "option 'profiles.batch' must be"),
    ({"builder_flags": "STRICT_NANS"}, "option 'builder_flags' must be a list of names"),
    ({"rest": "fp8"}, "option 'rest' must be in ['fp32', 'fp16'] (got 'fp8')"),
    ({"tf32": 1}, "option 'tf32' must be true or false (got 1)"),
    ({"workspace_mib": -1}, "option 'workspace_mib' must be a whole number from 0 (got -1)"),
    ({"rebuild": True}, "option 'rebuild' must be a whole number from 0 (got True)"),
    ({"names": {"a": "b"}}, "option 'names' is for a prebuilt plan"),
    ({"workspace": 1}, "engine 'trt-fp16' has no option 'workspace'"),
]


@pytest.mark.parametrize(("given", "what"), WRONG, ids=range(len(WRONG)))
def test_a_value_that_cannot_be_is_named_with_what_could_be(given, what):
    with pytest.raises(EngineOptionError) as caught:
        parse_options("trt-fp16", given)
    assert what in caught.value.what
    assert "trt-fp16" in caught.value.where
    assert caught.value.remedy


def test_a_plan_and_an_option_of_its_build_contradict_each_other(file):
    assert parse_options("trt-fp16", {"plan": file, "names": {"a": "b"}}).names == {"a": "b"}
    assert parse_options("trt-fp16", {"plan": file, "calibration": file}).plan == file  # the replay gives it to all
    for extra in ({"tf32": True}, {"profiles": {}}, {"rebuild": 0}, {"calibration_cache": file}):
        with pytest.raises(EngineOptionError, match="says how to build, and `plan` is built already"):
            parse_options("trt-fp16", {"plan": file, **extra})
