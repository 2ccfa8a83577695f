"""Weeks of a registered model's life: label, retrain, compare, promote. `make retrain`.

Starts `querist up` with a deployment of the retraining file, and triggers it once a "week" through
Prefect's API, as the Prefect UI does. What every week has brought is read back from Prefect and
from MLflow's registry, as a person would look it up there.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
FILE = Path(__file__).with_name("digits.yaml")
REGISTRY_SECONDS = 120.0
"""How long a tracker may be behind."""
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def main() -> int:
    """The exit code: 0, or 1 when a flow run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=FILE, help="a retraining file")
    parser.add_argument("--weeks", type=int, default=2, help="how often it is triggered")
    parser.add_argument("--root", type=Path, default=Path("active_learning_logs"))
    parser.add_argument("--keep", action="store_true", help="leave the servers up, until Ctrl-C")
    options = parser.parse_args()
    with servers(options.root, options.file) as (prefect, mlflow):
        weeks = [week(prefect, number + 1) for number in range(options.weeks)]
        show_weeks(weeks)
        judged = sum(bool(one["verdict"]) for one in weeks)
        show_registry(mlflow, weeks[-1]["model"], judged)
        if options.keep:
            out.print("the servers stay up: Ctrl-C ends them")
            with_patience()
    return 0 if all(week["state"] == "COMPLETED" for week in weeks) else 1


def with_patience() -> None:
    """Wait for Ctrl-C."""
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


@contextmanager
def servers(root: Path, file: Path) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Clients of a Prefect and an MLflow server that serve the file, ended at the end."""
    ports = free_ports(2)
    command = [
        sys.executable, "-c", "from querist.deployments.cli import main; main()",
        "up", "--root", str(root), "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]),
        "--poll", "1", "--serve", str(file),
    ]  # fmt: skip
    out.print("starting Prefect, MLflow and a runner", style="dim")
    up = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(up)
        words = json.loads((root / "service" / "credentials.json").read_bytes())
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        user = f"querist:{words['mlflow_password']}"
        with (
            client(f"{addresses[0]}/api", words["prefect_auth"]) as prefect,
            client(f"{addresses[1]}/api/2.0/mlflow", user) as mlflow,
        ):
            yield prefect, mlflow
    finally:
        up.send_signal(signal.SIGINT)
        up.wait()


def wait_for(up: subprocess.Popen[str]) -> None:
    """Pass on what `querist up` says, until it is ready."""
    assert up.stdout is not None
    for line in up.stdout:
        out.print(line.rstrip(), markup=False, soft_wrap=True)
        if line.startswith("Ctrl-C"):
            return
    raise SystemExit("`querist up` ended before it was ready")


def client(url: str, user: str) -> httpx.Client:
    """A client that says who it is, and asks no proxy."""
    name, _, password = user.partition(":")
    return httpx.Client(base_url=url, auth=(name, password), timeout=60, trust_env=False)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def week(prefect: httpx.Client, number: int) -> dict[str, Any]:
    """Trigger the deployment as the UI does, wait for its end, and read what it has brought."""
    deployment = only(
        post(prefect, "/deployments/filter", {"flows": {"name": {"any_": ["retraining"]}}}),
        lambda found: "settings" in found["parameters"],
    )
    model = deployment["parameters"]["settings"]["model"]
    body = {
        "parameters": deployment["parameters"],
        "state": {"type": "SCHEDULED", "message": f"week {number}"},
    }
    run = post(prefect, f"/deployments/{deployment['id']}/create_flow_run", body)
    out.print(f"week {number}: flow run {run['name']}", style="dim")
    while run["state"]["type"] not in ENDS:
        time.sleep(1)
        run = prefect.get(f"/flow_runs/{run['id']}").raise_for_status().json()
    artifacts = post(
        prefect, "/artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}}
    )
    verdicts = [json.loads(a["data"]) for a in artifacts if a["key"].startswith("verdict-table")]
    show_verdict(number, run, verdicts[0] if verdicts else [])
    state = run["state"]
    return {"model": model, "number": number, "state": state["type"], "name": state["name"],
            "message": state["message"], "verdict": verdicts[0] if verdicts else []}  # fmt: skip


def post(where: httpx.Client, path: str, body: Mapping[str, Any]) -> Any:
    """What a POST gives."""
    return where.post(path, json=body).raise_for_status().json()


def only(found: list[dict[str, Any]], wanted: Any) -> dict[str, Any]:
    """The only one that is wanted."""
    (one,) = [candidate for candidate in found if wanted(candidate)]
    return one


def show_verdict(number: int, run: Mapping[str, Any], verdict: list[dict[str, Any]]) -> None:
    """The week's verdict, check by check."""
    state = run["state"]
    table = Table("sub-comparison", "champion", "challenger", "gain", "outcome", "reason",
                  title=f"week {number}: {state['name']}", title_justify="left")  # fmt: skip
    for row in verdict:
        cells = (row[key] for key in ("champion", "challenger", "gain"))
        numbers = ["" if cell is None else f"{float(cell):.4g}" for cell in cells]
        table.add_row(row["sub-comparison"], *numbers, row["outcome"], row["reason"])
    out.print(table if verdict else f"week {number}: {state['name']}, {state['message']}")


def show_weeks(weeks: list[dict[str, Any]]) -> None:
    """All weeks at a glance."""
    table = Table("week", "outcome", "why")
    for one in weeks:
        table.add_row(str(one["number"]), one["name"], one["message"])
    out.print(table)


def registry(
    mlflow: httpx.Client, model: str, judged: int
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Aliases by version, and the versions with their tags.

    MLflow hears of a verdict a moment after it, and later where it is busy: this waits until so
    many versions are there, what became of each, and no challenger.
    """
    search = {"filter": f"name = '{model}'"}
    until = time.monotonic() + REGISTRY_SECONDS
    while True:
        answer = mlflow.get("/model-versions/search", params=search).raise_for_status().json()
        versions = answer.get("model_versions", [])
        named: dict[str, str] = {}
        if versions:
            got = mlflow.get("/registered-models/get", params={"name": model}).raise_for_status()
            aliases = got.json()["registered_model"].get("aliases", [])
            named = {alias["version"]: alias["alias"] for alias in aliases}
        told = all("reason" in tags_of(one) for one in versions)
        settled = told and len(versions) >= judged and "challenger" not in named.values()
        if settled or time.monotonic() > until:
            return named, sorted(versions, key=lambda version: int(version["version"]))
        time.sleep(1)


def tags_of(version: Mapping[str, Any]) -> dict[str, str]:
    """What Querist says of a version in the registry."""
    return {
        tag["key"].removeprefix("querist."): tag["value"] for tag in version.get("tags", [])
    }


def show_registry(mlflow: httpx.Client, model: str, judged: int) -> None:
    """MLflow's registry: aliases, lineage and reasons."""
    named, versions = registry(mlflow, model, judged)
    table = Table("version", "alias", "parent", "items", "verdict", "reason",
                  title=f"MLflow's registered model {model}", title_justify="left")  # fmt: skip
    for version in versions:
        tags = tags_of(version)
        names = ("parent", "trained_on", "verdict", "reason")
        table.add_row(
            version["version"], named.get(version["version"], ""), *(tags.get(n, "") for n in names)
        )
    out.print(table)


if __name__ == "__main__":
    sys.exit(main())
