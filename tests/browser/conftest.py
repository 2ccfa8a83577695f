"""Debian's Chromium before `querist up`, which serves the digits' retraining."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the browser tests need playwright: make installs it")

from playwright.sync_api import Browser, HttpCredentials, Page, ViewportSize, sync_playwright

from tests.conftest import REPOSITORY, environment
from tests.faults.served import Service, free_port

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
SIZE: ViewportSize = {"width": 1280, "height": 800}
PATIENCE_MS = 120_000
"""For anything that a page is to show, on a busy machine."""
DIGITS = REPOSITORY / "examples" / "retraining" / "digits.yaml"
Shot = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; without one installed, a skip (in CI: a failure)."""
    program = shutil.which("chromium")
    if program is None:
        words = "Chromium is not installed: on Debian, apt install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    # Its sandbox refuses to be root; all that it opens is our own servers on loopback.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`querist up --serve examples/retraining/digits.yaml`; nothing starts without a browser."""
    pytest.importorskip("flask_wtf", reason="MLflow's basic auth needs Flask-WTF")
    found = Service(
        tmp_path_factory.mktemp("browser"),
        environment(QUERIST_ALLOWED_PACKAGES="examples"),
        free_port(),
        free_port(),
        options=("--serve", str(DIGITS)),
    )
    try:
        found.start()
        yield found
    finally:
        if found.process is not None:
            found.stop()


@pytest.fixture(scope="module")
def screenshots() -> Path:
    """Where screenshots are kept."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS


@pytest.fixture(scope="module")
def shot(screenshots: Path) -> Shot:
    """Keeps what a page shows, by a name."""

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=screenshots / f"{name}.png", animations="disabled")

    return keep


@pytest.fixture(scope="module")
def prefect_page(browser: Browser, service: Service, screenshots: Path) -> Iterator[Page]:
    """The Prefect UI, into which a person has logged in with the form."""
    origin = f"http://127.0.0.1:{service.prefect_port}"
    with _page(browser, origin, screenshots / "last_of_prefect.png") as page:
        page.goto("/login")
        page.get_by_placeholder("admin:pass").fill(service.generated()["prefect_auth"])
        page.get_by_role("button", name="Login").click()
        page.get_by_role("button", name="Deployments").wait_for()
        yield page


@pytest.fixture(scope="module")
def mlflow_page(browser: Browser, service: Service, screenshots: Path) -> Iterator[Page]:
    """The MLflow UI, as a person sees it who has told the browser's dialog name and password."""
    origin = f"http://127.0.0.1:{service.mlflow_port}"
    password = service.generated()["mlflow_password"]
    with _page(browser, origin, screenshots / "last_of_mlflow.png", password) as page:
        yield page


@contextmanager
def _page(browser: Browser, origin: str, last: Path, password: str | None = None) -> Iterator[Page]:
    """A page of one origin; what it showed last is kept, which is what a failure leaves to see."""
    known = None if password is None else HttpCredentials(
        username="querist", password=password, origin=origin
    )  # fmt: skip
    context = browser.new_context(
        viewport=SIZE, base_url=origin, color_scheme="light", http_credentials=known
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    try:
        yield page
    finally:
        page.screenshot(path=last)
        context.close()
