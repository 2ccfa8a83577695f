from __future__ import annotations

from pathlib import Path

import pytest

from querist.commands.environment import (
    NOT_FOR_STEPS,
    base_environment,
    check_environment,
    check_share,
    resources,
    share_of_cores,
    usable_cores,
    usable_gpus,
)
from querist.errors import ConfigurationError


def test_credentials_are_never_inherited() -> None:
    secrets = [*NOT_FOR_STEPS, "AWS_SECRET_ACCESS_KEY", "QUERIST_LEDGER_URL",
               "QUERIST_PREFECT_AUTH", "QUERIST_MLFLOW_PASSWORD", "PREFECT_API_URL", "PGPASSWORD",
               "GITHUB_TOKEN"]  # fmt: skip
    ours = {
        **dict.fromkeys(secrets, "secret"),
        "PATH": "/bin",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
    }
    found = base_environment(ours)
    assert found == {
        "PATH": "/bin", "LC_ALL": "C", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"
    }  # fmt: skip


def test_numbers_become_texts() -> None:
    assert check_environment({"A": 1, "B": "x"}) == {"A": "1", "B": "x"}
    for wrong in ({"A=B": 1}, {"": 1}, {"A": None}, {"A": True}, {"A": "x\0"}, [1]):
        with pytest.raises(ConfigurationError, match="environment of a command"):
            check_environment(wrong)


def test_no_more_than_there_is() -> None:
    assert check_share("cores", None, least=1, usable=[0]) is None
    assert check_share("cores", 1, least=1, usable=[0]) == 1
    with pytest.raises(ConfigurationError, match="cores of a command is at most .* 1, not 2"):
        check_share("cores", 2, least=1, usable=[0])
    for wrong in (0, True, 1.0, "1"):
        with pytest.raises(ConfigurationError, match="whole number of at least 1"):
            check_share("cores", wrong, least=1, usable=[0])


def test_gpus_are_those_that_we_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert usable_gpus() == ["3", "5"]
    assert resources(None, 1)["CUDA_VISIBLE_DEVICES"] == "3"
    assert resources(None, 0)["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert usable_gpus() == []


def test_cores_are_threads_too() -> None:
    assert resources(2, None)["OMP_NUM_THREADS"] == "2"
    cores = usable_cores()
    assert sorted(share_of_cores(len(cores), Path("x"))) == cores
    assert set(share_of_cores(1, Path("a"))) <= set(cores)
