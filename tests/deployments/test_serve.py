"""`querist serve`: files as deployments, against a real Prefect server with its triggers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.events import Event
from prefect.events.clients import PrefectEventsClient

from querist.config.load import build_experiment
from querist.config.retraining import build_retraining
from querist.deployments.automations import NOTIFY, on_event, on_labels
from querist.deployments.embedded_server import SHARED_SETTINGS, listen, start_prefect
from querist.deployments.served_flows import DESCRIPTIONS
from querist.deployments.up import answers
from querist.tasks.events import LABELS_COLLECTED

from ..conftest import REPOSITORY, Cli, environment

T = TypeVar("T")
RETRAINING: dict[str, Any] = {
    "model": "digits",
    "collect": {"run_id": "digits-labels", "experiment": "labels.yaml"},
    "data": {"source": {"name": "labeled_run", "options": {"run_id": "digits-labels"}}},
    "learner": {"name": "sklearn", "options": {"estimator": "LogisticRegression"}},
    "training": {"batch_size": 32},
    "compare": {"checks": [{"metric": "accuracy"}]},
}
LABELS = REPOSITORY / "examples" / "retraining" / "digits_labels.yaml"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server with its triggers, as `querist up` starts it; the URL of its API."""
    home = tmp_path_factory.mktemp("triggers")
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    settings = {
        **SHARED_SETTINGS,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_UI_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "true",
    }
    with (home / "log").open("wb") as log:
        process = start_prefect(listener, environment(**settings), log)
    listener.close()
    try:
        until = time.monotonic() + 120
        while answers(f"{url}/health") != 200:
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < until, (home / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def here(tmp_path: Path, api: str) -> Cli:
    """The command line, in an empty folder, with that server."""
    (tmp_path / "labels.yaml").write_text(LABELS.read_text())
    return Cli(
        tmp_path, environment(PREFECT_HOME=str(tmp_path / "home"), PREFECT_API_URL=api)
    )


@pytest.fixture
def retraining(here: Cli) -> Path:
    """The file of a retraining that collects labels first."""
    path = here.cwd / "digits.yaml"
    path.write_text(yaml.safe_dump(RETRAINING))
    return path


@contextmanager
def serving(cli: Cli, *words: object) -> Iterator[Path]:
    """`querist serve`, until it takes flow runs; gives its log."""
    ours, theirs = os.pipe()
    log = cli.cwd / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "querist.deployments.serve", *map(str, words),
             "--poll", "1", "--ready", str(theirs)],
            cwd=cli.cwd, env=cli.env, pass_fds=[theirs], stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    os.close(theirs)
    with os.fdopen(ours, "rb") as ready:
        assert ready.read() == b"ready\n", log.read_text()
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(api: str, work: Callable[[PrefectClient], Awaitable[T]]) -> T:
    async def main() -> T:
        async with PrefectClient(api) as client:
            return await work(client)

    return asyncio.run(main())


def deployment(api: str, name: str) -> Any:
    return ask(api, lambda client: client.read_deployment_by_name(name))


def automation_names(api: str) -> set[str]:
    return {found.name for found in ask(api, lambda client: client.read_automations())}


def flow_runs(api: str, of: Any) -> list[FlowRun]:
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[of.id]))
    return ask(api, lambda client: client.read_flow_runs(flow_run_filter=wanted))


def triggered(api: str, of: Any) -> list[FlowRun]:
    """Those that no schedule has made."""
    return [found for found in flow_runs(api, of) if not found.auto_scheduled]


def emit(api: str, event: str, resource: str) -> None:
    async def main() -> None:
        async with PrefectEventsClient(api) as client:
            await client.emit(Event(event=event, resource={"prefect.resource.id": resource}))

    asyncio.run(main())


def wait_for(what: Callable[[], T], seconds: float = 60.0) -> T:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.3)
    return found


# Deployments --------------------------------------------------------------------------------------


def test_every_flow_and_every_file_is_a_deployment(
    api: str, here: Cli, retraining: Path
) -> None:
    words = ("--cron", "0 6 * * 1", "--timezone", "Europe/Berlin")
    with serving(here, retraining, "labels.yaml", *words) as log:
        for name, description in DESCRIPTIONS.items():
            found = deployment(api, f"{name}/{name}")
            assert found.description == description
            assert found.tags == ["querist"]
            assert found.entrypoint == f"querist.flows.{name}.{name}"
            assert not found.schedules
        made = deployment(api, "retraining/digits")
        wanted = build_retraining(yaml.safe_load(retraining.read_text()), retraining)
        assert build_retraining(made.parameters["settings"], retraining) == wanted
        assert made.parameters["settings"]["training"] == {"batch_size": 32}, "the rest is open"
        assert "Its settings are those of `digits.yaml`" in made.description
        assert sorted(made.tags) == ["digits", "querist"]
        assert made.global_concurrency_limit.limit == 1
        assert made.concurrency_options.collision_strategy == "ENQUEUE"
        (schedule,) = made.schedules
        assert schedule.active
        assert schedule.schedule.cron == "0 6 * * 1"
        assert schedule.schedule.timezone == "Europe/Berlin"
        labels = deployment(api, "active_learning/digits labels")
        content = yaml.safe_load(LABELS.read_text())
        assert build_experiment(labels.parameters["experiment"]) == build_experiment(content)
        assert labels.global_concurrency_limit is None
        assert "serves retraining/digits\n" in log.read_text()
        assert automation_names(api) == {"querist: crash flow runs without heartbeats"}
    # Another time without a schedule: ours goes, and whoever was in a hurry is turned away.
    content = yaml.safe_load(retraining.read_text())
    retraining.write_text(yaml.safe_dump({**content, "busy": "skip"}))
    with serving(here, retraining):
        made = deployment(api, "retraining/digits")
        assert not made.schedules
        assert made.concurrency_options.collision_strategy == "CANCEL_NEW"


def test_labels_and_events_run_it(api: str, here: Cli, retraining: Path) -> None:
    words = ("--on-labels", "--on-event", "shop.closed", "--every", "86400", "--paused")
    labels, event = on_labels("retraining/digits"), on_event("retraining/digits", "shop.closed")
    with serving(here, retraining, *words):
        assert automation_names(api) >= {labels, event}
        made = deployment(api, "retraining/digits")
        assert made.paused
        assert made.schedules[0].schedule.interval.total_seconds() == 86400
    # Nobody serves it any more: what the automations make stays as they made it.
    emit(api, LABELS_COLLECTED, "querist.run.another")
    emit(api, LABELS_COLLECTED, "querist.run.digits-labels")
    (first,) = wait_for(lambda: triggered(api, made))
    assert first.state is not None
    assert first.state.is_scheduled()
    settings = first.parameters["settings"]
    assert settings["collect"] is None, "on labels it asks for no others"
    assert {**settings, "collect": 0} == {**made.parameters["settings"], "collect": 0}
    emit(api, "shop.closed", "shop.1")
    wait_for(lambda: len(triggered(api, made)) == 2)
    (second,) = [found for found in triggered(api, made) if found.id != first.id]
    assert second.parameters == made.parameters
    with serving(here, retraining):
        assert not automation_names(api) & {labels, event}


def test_somebody_is_told_of_failures(api: str, here: Cli) -> None:
    """By a notification block, here one that posts to us."""
    got: list[bytes] = []
    with posted(got) as address:
        made = subprocess.run(
            [sys.executable, "-c", BLOCK, address], env=here.env, capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr
        with serving(here, "--notify", "custom-webhook/team"):
            assert NOTIFY in automation_names(api)
            one = deployment(api, "model_comparison/model_comparison").id
            given = {"model": "nowhere", "version": 1}
            ask(api, lambda client: client.create_flow_run_from_deployment(one, parameters=given))
            wait_for(lambda: got, 90)
    body = got[0].decode()
    assert "model_comparison" in body
    assert "Failed" in body
    assert "nowhere" in body


BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
CustomWebhookNotificationBlock.register_type_and_schema()
CustomWebhookNotificationBlock(
    name="team", url=sys.argv[1], json_data={"text": "{{subject}} {{body}}"},
    allow_private_urls=True,
).save("team", overwrite=True)
"""


@contextmanager
def posted(got: list[bytes]) -> Iterator[str]:
    """A server that keeps what is posted; gives its address."""
    import http.server
    import threading

    class Takes(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Takes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


# What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cron", "0 6 * * 1"], "--cron has no effect without a file to serve: name one"),
        (["--on-labels"], "--on-labels has no effect without a file to serve"),
        (["labels.yaml", "--on-labels"], "--on-labels waits for the labels of a run"),
        (["labels.yaml", "--on-event", "x"], "--on-event runs retrainings: name the file of one"),
        (["labels.yaml", "labels.yaml"], "are both the deployment active_learning/digits labels"),
        (["nowhere.yaml"], "nowhere.yaml cannot be read, there is no such file"),
        (["labels.yaml", "--every", "60", "--cron", "0 6 * * 1"], "a deployment gets one schedule"),
        (["digits.yaml", "--on-event", "querist.labels.*"], "would collect labels on its own"),
        (["digits.yaml", "--on-event", "querist.model.promoted"], "comes of retraining itself"),
    ],
)
def test_what_cannot_be_served(
    words: list[str], said: str, here: Cli, retraining: Path
) -> None:
    assert said in here("serve", *words).says_one_line(2)


def test_a_component_that_is_not_there(here: Cli, retraining: Path) -> None:
    content = yaml.safe_load(retraining.read_text())
    content["metrology"] = "acuracy"
    retraining.write_text(yaml.safe_dump(content))
    assert "acuracy" in here("serve", retraining).says_one_line(2)


def test_a_folder_outside_the_operators(here: Cli, retraining: Path) -> None:
    content = yaml.safe_load(retraining.read_text())
    content["root_log_dir"] = "/elsewhere"
    retraining.write_text(yaml.safe_dump(content))
    said = here("serve", retraining, QUERIST_ROOT=str(here.cwd)).says_one_line(2)
    assert "a folder inside the operator's" in said


def test_a_block_that_is_not_there(here: Cli) -> None:
    said = here("serve", "--notify", "slack-webhook/team").says_one_line(2)
    assert "--notify 'slack-webhook/team' is no block on this Prefect server" in said


def test_no_server_is_set(tmp_path: Path) -> None:
    cli = Cli(tmp_path, environment(PREFECT_HOME=str(tmp_path / "home")))
    assert cli("serve").says_one_line(2).endswith("no Prefect server is set: set PREFECT_API_URL")
