"""`querist up`: a Prefect server, an MLflow server, and a runner that serves flows.

All three end with this process, however it ends. One that ends by itself is started again.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError

from querist.deployments import settings
from querist.deployments.credentials import MLFLOW_USER, Credentials, load_credentials
from querist.deployments.databases import databases_of
from querist.deployments.embedded_server import ServerError, listen, start_prefect
from querist.deployments.guard import GRACE_SECONDS, start_guarded
from querist.deployments.served_flows import DESCRIPTIONS
from querist.deployments.serving import Serving
from querist.deployments.settings import Place
from querist.errors import ConfigurationError, RunLockedError
from querist.runs.lock import RunLock
from querist.storage.atomic import storage_errors, write_file

START_SECONDS = 180.0
"""Fresh databases are migrated first, which takes a while."""
CREDENTIALS_FILE = "credentials.json"
_HEALTHY_SECONDS = 60.0
_LONGEST_PAUSE = 30.0


@dataclass
class Part:
    """One of the three.

    Attributes:
        name: for people.
        start: starts its process.
        ready: whether it does its work.
        log: the file that its output goes to.
    """

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    ready: Callable[[], bool]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    started: float = field(init=False, default=0.0)
    pause: float = field(init=False, default=1.0)

    def run(self) -> None:
        """Start its process."""
        self.process = self.start()
        self.started = time.monotonic()

    def wait(self, stopped: threading.Event) -> None:
        """Block until it is ready, or we are stopped.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        until = time.monotonic() + START_SECONDS
        while not stopped.is_set() and not self.ready():
            code = self.process.poll()
            if code is not None:
                raise ServerError(f"{self.name} ended with exit code {code}: see {self.log}")
            if time.monotonic() > until:
                raise ServerError(
                    f"{self.name} was not ready in {START_SECONDS:.0f} s: see {self.log}"
                )
            stopped.wait(0.1)

    def stop(self) -> None:
        """End it and all that it started; a second signal to us kills it at once."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(GRACE_SECONDS + 3)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def up(
    place: Place,
    *,
    limit: int,
    poll_seconds: float,
    exposed: bool,
    say: Callable[[str], None],
    serving: Serving | None = None,
    names: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Start everything, and keep it until SIGINT or SIGTERM.

    Args:
        place: addresses and folders.
        limit: how many flow runs at once.
        poll_seconds: how often the runner looks for new flow runs.
        exposed: whether other machines may reach the servers.
        say: tells the user a line.
        serving: files that the runner serves, beside the flows themselves.
        names: the deployments of those files.
        environment: the servers' own environment is made from it. Default: this process's.

    Raises:
        ConfigurationError: something that the user can mend.
        ServerError: one of the three did not start.
    """
    environment = os.environ if environment is None else environment
    settings.check_host(place.host, exposed=exposed, environment=environment)
    databases = databases_of(environment)
    if importlib.util.find_spec("flask_wtf") is None:
        raise ConfigurationError(
            "MLflow's basic auth needs Flask-WTF: `pip install 'querist[service]'`"
        )
    with storage_errors(place.service):
        place.service.mkdir(parents=True, exist_ok=True)
        place.service.chmod(0o700)
    try:
        lock = RunLock(place.service)  # two of us would take each other's databases
    except RunLockedError as error:
        raise ConfigurationError(
            f"another `querist up` uses {place.service}, {error.holder}: stop it, or choose "
            "another --root"
        ) from error
    try:
        credentials = load_credentials(place.service / CREDENTIALS_FILE, environment)
        auth = place.service / "mlflow_auth.ini"  # in a folder that nobody else may enter
        write_file(auth, settings.mlflow_auth_file(place, environment).encode())
        auth.chmod(0o600)
        parts = [
            prefect_part(place, credentials, environment),
            mlflow_part(place, credentials, environment),
            runner_part(place, credentials, environment, limit, poll_seconds, serving),
        ]
        with stopped_by_signals() as stopped:
            _keep(parts, welcome(place, names, databases.shown), stopped, say)
    finally:
        lock.release()


def _keep(
    parts: list[Part],
    words: Sequence[str],
    stopped: threading.Event,
    say: Callable[[str], None],
) -> None:
    *servers, runner = parts
    running: list[Part] = []
    try:
        for server in servers:
            server.run()
            running.append(server)
        for server in servers:
            server.wait(stopped)
        if stopped.is_set():
            return
        runner.run()
        running.append(runner)
        runner.wait(stopped)
        for line in words:
            say(line)
        while not stopped.wait(0.5):
            for part in parts:
                _start_again(part, stopped, say)
    finally:
        for part in reversed(running):  # the runner first: its flow runs have something to report
            part.stop()


def _start_again(part: Part, stopped: threading.Event, say: Callable[[str], None]) -> None:
    code = part.process.poll()
    if code is None:
        if time.monotonic() - part.started > _HEALTHY_SECONDS:
            part.pause = 1.0
        return
    say(f"{part.name} ended with exit code {code} (see {part.log}): starting it again")
    if not stopped.wait(part.pause):
        part.pause = min(2 * part.pause, _LONGEST_PAUSE)
        with suppress(ServerError):  # a port that is still taken: the next round tries again
            part.run()


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, instead of what they do otherwise."""
    stopped = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stopped.set()) for number in numbers]
    try:
        yield stopped
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def prefect_part(place: Place, credentials: Credentials, environment: Mapping[str, str]) -> Part:
    """The Prefect server."""
    log = place.service / "prefect.log"

    def start() -> subprocess.Popen[bytes]:
        (place.service / "prefect").mkdir(exist_ok=True)
        try:
            listener = listen(place.host, place.prefect_port)
        except OSError as error:
            raise ServerError(_taken("--prefect-port", place.prefect_port, error)) from error
        with listener, _log_file(log) as file:
            its = settings.prefect_server(place, credentials, environment)
            return start_prefect(listener, its, file)

    return Part(
        "the Prefect server",
        start,
        lambda: answers(f"{place.prefect_url}/api/health") == 200,
        log,
    )


def mlflow_part(place: Place, credentials: Credentials, environment: Mapping[str, str]) -> Part:
    """The MLflow server."""
    log = place.service / "mlflow.log"

    def start() -> subprocess.Popen[bytes]:
        try:
            listen(place.host, place.mlflow_port).close()
        except OSError as error:
            raise ServerError(_taken("--mlflow-port", place.mlflow_port, error)) from error
        with _log_file(log) as file:
            its = settings.mlflow_server(place, credentials, environment)
            return start_guarded(settings.mlflow_command(place), its, file)

    def ready() -> bool:
        user = f"{MLFLOW_USER}:{credentials.mlflow_password}"
        status = answers(f"{place.mlflow_url}/api/2.0/mlflow/users/current", user)
        if status == 401:
            raise ConfigurationError(
                "the MLflow server was set up with another password: give the old one as "
                "QUERIST_MLFLOW_PASSWORD, or delete "
                f"{place.service / 'mlflow_users.db'}, or in PostgreSQL the rows of `users`"
            )
        return status == 200

    return Part("the MLflow server", start, ready, log)


def runner_part(
    place: Place,
    credentials: Credentials,
    environment: Mapping[str, str],
    limit: int,
    poll_seconds: float,
    serving: Serving | None = None,
) -> Part:
    """What carries out the flow runs."""
    log = place.service / "runner.log"
    told: list[IO[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        for file in told:
            file.close()
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        told[:] = [os.fdopen(ours, "rb", buffering=0)]
        command = [
            sys.executable, "-m", "querist.deployments.serve",
            "--limit", str(limit), "--poll", str(poll_seconds), "--ready", str(theirs),
            *(() if serving is None else serving.arguments()),
        ]  # fmt: skip
        its = settings.runner(place, credentials, environment)
        try:
            with _log_file(log) as file:
                return start_guarded(command, its, file, [theirs])
        finally:
            os.close(theirs)

    return Part("the runner", start, lambda: bool(told[0].read(1)), log)


def _taken(option: str, port: int, error: OSError) -> str:
    return f"port {port} cannot be listened on ({error.strerror}): choose another with {option}"


def _log_file(path: Path) -> IO[bytes]:
    with storage_errors(path):
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def answers(url: str, user: str | None = None) -> int | None:
    """The status of a GET, as `user:password`; None when nobody answers."""
    request = urllib.request.Request(url)
    if user is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    # No proxy: the servers are here.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return None


def welcome(place: Place, names: Sequence[str] = (), databases: str = "SQLite") -> list[str]:
    """What the user is told: where things are, and where the credentials are, not what they are.

    Args:
        place: addresses and folders.
        names: deployments of files.
        databases: where the servers keep what they know.
    """
    return [
        f"Prefect UI   {place.prefect_url}",
        f"MLflow UI    {place.mlflow_url}   user {MLFLOW_USER}",
        f"deployments  {', '.join((*names, *DESCRIPTIONS))}",
        f"databases    {databases}",
        f"credentials  {place.service / CREDENTIALS_FILE}   (or as you set them in QUERIST_...)",
        f"logs         {place.service}",
        "Ctrl-C ends all of it.",
    ]
