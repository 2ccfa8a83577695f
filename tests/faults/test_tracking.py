"""Row 7: MLflow is down, silent, slow or loses answers; the deliverer is killed; the run is too.

Whatever happens, the run does not wait, and in the end a real MLflow server has everything once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from querist.runs.tracking import flat_parameters
from querist.tracking.deliver import deliver
from querist.tracking.mlflow_names import key_for, text_for
from querist.tracking.progress import read_progress
from querist.tracking.spool import TrackingSpool

REPOSITORY = Path(__file__).parents[2]
ITERATIONS = 5
AT_MOST = 2.0  # seconds that a run's end waits for a tracker that is down
RUN = """
import json, pathlib, sys, time
from querist import phases
from querist.config.load import build_experiment
from querist.phases.begin import begin
from querist.runs import open_run
from querist.tracking.delivery import Delivery
from querist.values import Phase

PHASES = {Phase.TRAIN: phases.train, Phase.METROLOGY: phases.metrology,
          Phase.QUERY: phases.query, Phase.LABEL: phases.label}
content, pause = json.loads(sys.argv[1]), float(sys.argv[2])
experiment = build_experiment(content)
start = begin(experiment, "run")
run = open_run(start.run)
delivery = Delivery(start.run.folder)
delivery.start()
began = time.monotonic()
step, stopped = start.iteration, start.stopped
while not stopped:
    for phase in phases.pending_phases(run, step):
        PHASES[phase](run, step)
    phases.commit_iteration(run, step)
    print("iteration", step, flush=True)
    stopped = phases.decide(run, step).stop
    step += 1
    time.sleep(pause)
phases.conclude(run)
ended = time.monotonic()
state = delivery.wait(experiment.tracking.drain_seconds)
print(json.dumps({"worked": ended - began, "waited": time.monotonic() - ended,
                  "delivered": state.delivered, "error": state.error}), flush=True)
"""
DYING = """
import os, signal, sys
from pathlib import Path
from querist.storage.store import Store, stored_by
from querist.tracking.deliver import deliver
from querist.tracking.progress import PROGRESS_FILE

class Dying(Store):
    left = int(sys.argv[2])

    def replace(self, source, target):
        if target.name == PROGRESS_FILE:
            Dying.left -= 1
            if not Dying.left:
                os.kill(os.getpid(), signal.SIGKILL)
        super().replace(source, target)

with stored_by(Dying()):
    deliver(Path(sys.argv[1]))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real MLflow server on loopback, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
                "--port", str(self.port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
                "--artifacts-destination", str(self.folder / "artifacts"),
            ],
            env={**os.environ, **quiet}, cwd=self.folder, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 90
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return self
            assert time.monotonic() < until, "the MLflow server did not start"
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Line:
    """The wire between the deliverer and the server, which a test may cut or tamper with.

    Attributes:
        state: `up`; `refuses`; `hangs` (takes what is sent, says nothing); `fails` (500 to
            everything); `slow` (3 s an answer); `loses` (one answer in five never arrives, a
            dozen in all, though the server has done what it was asked for).
    """

    def __init__(self, server_port: int) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.lost = 0
        self._to = server_port
        self._chance = random.Random(7)
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self.state = ""
        self.set("up")

    def set(self, state: str) -> None:
        """Change it; every connection that is open is cut."""
        self.state = state
        if state == "refuses":
            self.close()
            return
        for end in list(self._open):
            _cut(end)
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        if self._listener is not None:
            _cut(self._listener)
            self._listener = None
        for end in list(self._open):
            _cut(end)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), closing(client):
            if self.state == "hangs":
                while client.recv(65536):
                    pass
            elif self.state == "fails":
                client.recv(65536)
                client.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                with socket.create_connection(("127.0.0.1", self._to)) as server:
                    self._open.add(server)
                    threading.Thread(
                        target=self._pump, args=(client, server, False), daemon=True
                    ).start()
                    self._pump(server, client, True)
        self._open.discard(client)

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if answers and self.state == "slow":
                    time.sleep(3)
                if answers and self.state == "loses" and self._loses():
                    break
                target.sendall(content)
        _cut(target)
        _cut(source)
        self._open.discard(source)

    def _loses(self) -> bool:
        loses = self.lost < 12 and self._chance.random() < 0.2
        self.lost += loses
        return loses


def _cut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server.start()
    server.kill()


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    line = Line(server.port)
    yield line
    line.close()


class Tracked:
    """A run of the two moons in a process of its own, tracked at `uri`."""

    def __init__(self, home: Path, uri: str, *, pause: float = 0.0, **driver: Any) -> None:
        self.name = f"moons-{os.urandom(4).hex()}"
        self.uri = uri
        self.folder = home / "runs" / "run"
        self._pause = pause
        self._content = {
            "name": self.name,
            "data": {
                "pool": {"name": "examples.two_moons.data:moons_pool", "options": {"n": 60}},
                "initial": {"count": 10, "stratify": True},
            },
            "learner": {
                "name": "examples.two_moons.model:MoonClassifier", "options": {"hidden": 4},
            },
            "training": {
                "max_training_epochs": 2, "optimizer": {"name": "SGD", "options": {"lr": 0.1}},
            },
            "strategies": {
                "query": {"name": "margin", "n": 5}, "label": "oracle", "metrology": "f1",
            },
            "driver": {
                "max_active_learning_steps": ITERATIONS, "root_log_dir": str(home / "runs"),
                **driver,
            },
            "tracking": {"uri": uri, "log_models_every": 3},
        }  # fmt: skip

    def start(self, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", RUN, *self.start_arguments()],
            env={**os.environ, "QUERIST_ALLOWED_PACKAGES": "examples", **env}, cwd=REPOSITORY,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start_arguments(self) -> list[str]:
        return [json.dumps(self._content), str(self._pause)]

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    def spool(self) -> TrackingSpool:
        return TrackingSpool(self.folder)

    def sync(self) -> None:
        """What `querist sync` does, until the server has it all."""
        until = time.monotonic() + 120
        while (report := deliver(self.folder, patience=60)).error is not None:
            assert time.monotonic() < until, report
            time.sleep(0.2)
        assert (report.pending, report.problems) == (0, ())


def compare(run: Tracked, server: Server, where: Path) -> None:
    """MLflow has what the spool and the run's own files say: each thing, and each once."""
    client = MlflowClient(server.uri)
    found = client.get_experiment_by_name(run.name)
    assert found is not None
    (info,) = client.search_runs([found.experiment_id])
    mlflow_run = client.get_run(info.info.run_id)
    run_id = mlflow_run.info.run_id
    assert read_progress(run.folder).mlflow_run_id == run_id
    assert mlflow_run.info.status == "FINISHED"
    events = run.spool().events()
    names = [event.once for event in events if event.once is not None]
    assert len(names) == len(set(names))

    wanted: Counter[tuple[Any, ...]] = Counter()
    for event in events:
        if event.kind == "metrics":
            for name, value in event.payload["values"].items():
                at = round(event.time * 1000)
                wanted[(key_for(name), event.payload["step"], value, at)] += 1
        elif event.kind == "curve":
            for step, *values in event.payload["rows"]:
                for name, value in zip(event.payload["columns"], values, strict=True):
                    if value is not None:
                        wanted[(key_for(name), step, value, round(event.time * 1000))] += 1
    assert set(wanted.values()) == {1}
    had = Counter(
        (name, point.step, point.value, point.timestamp)
        for name in mlflow_run.data.metrics
        for point in client.get_metric_history(run_id, name)
    )
    assert had == wanted
    records = json.loads((run.folder / "metrology.json").read_text())
    assert len(records) == ITERATIONS
    f1 = {(m.step, m.value) for m in client.get_metric_history(run_id, "f1")}
    assert f1 == {(record["step"], record["f1"]) for record in records}
    labels = {(m.step, m.value) for m in client.get_metric_history(run_id, "labels")}
    assert labels == {(record["step"], record["num_train_samples"]) for record in records}

    (start,) = (event for event in events if event.kind == "start")
    params = {key_for(k): text_for(v, 6000) for k, v in start.payload["params"].items()}
    assert mlflow_run.data.params == params
    assert (
        params.items()
        >= {
            key_for(k): text_for(v, 6000) for k, v in flat_parameters({"name": run.name}).items()
        }.items()
    )
    tags = dict(start.payload["tags"])
    for event in events:
        if event.kind == "tags":
            tags |= event.payload["values"]
    assert "querist.stop_reason" in tags
    assert {k: mlflow_run.data.tags[k] for k in tags} == tags

    files = {
        "/".join(
            part
            for part in (event.payload["artifact_path"], Path(event.payload["path"]).name)
            if part
        ): run.folder / event.payload["path"]
        for event in events
        if event.kind == "artifact"
    }
    assert {"experiment.yaml", "figures/learning_curve.png", "summary.json"} <= set(files)
    where.mkdir()
    client.download_artifacts(run_id, "", str(where))
    assert {
        str(path.relative_to(where)): _sha256(path) for path in where.rglob("*") if path.is_file()
    } == {path: _sha256(file) for path, file in files.items()}

    models = client.search_logged_models([found.experiment_id])
    assert sorted((m.name, str(m.status)) for m in models) == sorted(
        (event.payload["name"], "READY") for event in events if event.kind == "model"
    )
    assert [m.name for m in models].count("model") == 1
    assert mlflow_run.outputs is not None
    assert {o.model_id for o in mlflow_run.outputs.model_outputs} == {m.model_id for m in models}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_server_is_killed_in_mid_run_and_comes_back(
    tmp_path: Path,
    tries: Callable[[int, int, int], int],
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    server = Server(tmp_path / "server").start()
    down = tries(7, 4, 30)  # seconds, and as long as the server takes to start
    try:
        for attempt in range(tries(7, 1, 5)):
            tried(7)
            home = tmp_path / str(attempt)
            run = Tracked(home, server.uri, pause=(down + 8) / ITERATIONS)
            process = run.start()
            assert process.stdout is not None
            while not process.stdout.readline().startswith("iteration 0"):
                assert process.poll() is None, process.communicate()
            server.kill()
            time.sleep(down)
            piled_up = len(run.spool().events(read_progress(run.folder).seq))
            assert piled_up >= 2
            server.start()
            run.finish(process)
            run.sync()
            compare(run, server, tmp_path / f"artifacts-{attempt}")
            survived(7)
    finally:
        server.kill()


@pytest.mark.parametrize("state", ["refuses", "hangs", "fails", "slow"])
def test_a_tracker_that_is_down_for_the_whole_run_costs_two_seconds_at_most(
    state: str,
    line: Line,
    server: Server,
    tmp_path: Path,
    tries: Callable[[int, int, int], int],
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    for attempt in range(tries(7, 1, 5)):
        tried(7)
        line.set(state)
        run = Tracked(tmp_path / str(attempt), line.uri)
        done = run.finish(run.start())
        print(state, done)
        assert not done["delivered"]
        assert done["waited"] <= AT_MOST
        line.set("up")
        run.sync()
        compare(run, server, tmp_path / f"artifacts-{attempt}")
        survived(7)


def test_answers_that_get_lost_leave_nothing_twice(
    line: Line,
    server: Server,
    tmp_path: Path,
    tries: Callable[[int, int, int], int],
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    """The server has done it, and the deliverer does not know: it asks again."""
    for attempt in range(tries(7, 1, 5)):
        tried(7)
        run = Tracked(tmp_path / str(attempt), line.uri)
        line.set("loses")
        run.finish(run.start())
        run.sync()
        assert line.lost >= 3
        compare(run, server, tmp_path / f"artifacts-{attempt}")
        survived(7)


def test_a_deliverer_that_is_killed_leaves_nothing_out_and_nothing_twice(
    server: Server,
    tmp_path: Path,
    tries: Callable[[int, int, int], int],
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    """In the middle of anything, and between MLflow's acknowledgement and the note of it."""
    down = Line(server.port)
    down.set("refuses")
    run = Tracked(tmp_path, down.uri)
    run.finish(run.start())
    down.set("up")
    chance = random.Random(3)
    kills = tries(7, 12, 100)
    tried(7)
    for attempt in range(kills):
        with_note = attempt % 2 == 0
        if with_note:
            command = ["-c", DYING, str(run.folder), str(chance.randint(1, 3))]
        else:
            command = ["-m", "querist.tracking.deliver", str(run.folder)]
        before = read_progress(run.folder).seq
        process = subprocess.Popen([sys.executable, *command])
        if not with_note:
            until = time.monotonic() + 20
            while process.poll() is None and read_progress(run.folder).seq == before:
                assert time.monotonic() < until
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
        assert process.wait(60) in (0, -signal.SIGKILL)
        if not run.spool().events(read_progress(run.folder).seq):
            # Everything is there: what was noted is forgotten, so all of it is said again.
            (run.folder / "tracking.state.json").unlink()
    run.sync()
    compare(run, server, tmp_path / "artifacts")
    survived(7)
    down.close()


@pytest.mark.parametrize(
    "point", ["commit.recorded:2", "commit.recorded:5", "conclude.tracked", "conclude.summed"]
)
def test_a_run_that_is_killed_before_it_told_the_tracker_tells_it_later(
    point: str, server: Server, tmp_path: Path
) -> None:
    run = Tracked(tmp_path, server.uri)
    killed = run.start(QUERIST_CRASH_AT=point)
    assert killed.wait(60) == -signal.SIGKILL
    killed.communicate()
    run.finish(run.start())
    run.sync()
    compare(run, server, tmp_path / "artifacts")
    events = run.spool().events()
    order = [e.payload["step"] for e in events if (e.once or "").startswith("iteration")][::2]
    assert order == list(range(ITERATIONS))


def test_a_full_disk_stops_the_run_with_our_error_and_the_spool_is_intact(
    server: Server, tmp_path: Path
) -> None:
    """The disk is full for the spool alone; nothing of it is lost when there is room again."""
    run = Tracked(tmp_path, server.uri)
    full = (
        "import errno, os\n"
        "from querist.storage.store import Store, stored_by\n"
        "class Full(Store):\n"
        "    lines = 0\n"
        "    def write(self, file, content):\n"
        "        if str(getattr(file, 'name', '')).endswith('tracking.jsonl'):\n"
        "            Full.lines += 1\n"
        "            if Full.lines > 5:\n"
        "                file.write(content[:9])\n"
        "                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "        super().write(file, content)\n"
        "full = stored_by(Full())\n"
        "full.__enter__()\n"
    )
    stopped = subprocess.run(
        [sys.executable, "-c", full + RUN, *run.start_arguments()],
        env={**os.environ, "QUERIST_ALLOWED_PACKAGES": "examples"}, cwd=REPOSITORY,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert stopped.returncode == 1
    assert "StorageError" in stopped.stderr.splitlines()[-1]
    assert "No space left on device: make room or give access, then resume" in stopped.stderr
    assert len(run.spool().events()) == 5
    assert (run.folder / "tracking.jsonl").read_bytes().endswith(b"}\n")
    run.finish(run.start())
    run.sync()
    compare(run, server, tmp_path / "artifacts")
