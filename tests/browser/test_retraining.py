"""A person retrains the digits in the Prefect UI, and finds what came of it in MLflow's.

Elements are found by what a person reads: labels, roles and texts, no CSS classes. MLflow and
Prefect draw some of them late, so everything is waited for.
"""

from __future__ import annotations

import json
import re
import time

import pytest

pytest.importorskip("playwright", reason="the browser tests need playwright: make installs it")

from playwright.sync_api import Locator, Page, expect

from tests.faults.served import Service

from .conftest import PATIENCE_MS, Shot

EPOCHS = 12
"""What is typed into the form; the file says 30."""
RUN_MS = 240_000
DELIVERY_SECONDS = 90
STEPS = ("pull", "split", "new version", "train", "evaluate", "compare", "promote")
pytestmark = pytest.mark.timeout(600)


def field(page: Page, title: str) -> Locator:
    """The input below a title of the form; its label names no input, so it is the next one.

    The first with this title: the experiment that collects labels has the same fields, further
    down, and they are drawn later.
    """
    label = page.locator("label").filter(has=page.get_by_text(title, exact=True))
    return label.first.locator("xpath=following::input[1]")


def tab(page: Page, title: str) -> Locator:
    return page.get_by_role("tablist").get_by_role("listitem").filter(has_text=title)


def reloaded_until(page: Page, wanted: Locator) -> None:
    """Look again and again: the deliverer may go on for a while when the flow run has ended."""
    until = time.monotonic() + DELIVERY_SECONDS
    while True:
        try:
            expect(wanted).to_be_visible(timeout=6_000)
            return
        except AssertionError:
            if time.monotonic() > until:
                raise
        page.reload()


@pytest.fixture(scope="module")
def flow_run(prefect_page: Page, service: Service, shot: Shot) -> str:
    """The page of a flow run that was started with the form, and has ended."""
    page = prefect_page
    page.goto("/deployments")
    page.get_by_role("link", name="digits", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Custom run").click()
    epochs = field(page, "Max Training Epochs (Optional)")
    expect(epochs).to_have_value("30", timeout=PATIENCE_MS)
    epochs.fill(str(EPOCHS))
    expect(epochs).to_have_value(str(EPOCHS))
    epochs.scroll_into_view_if_needed()
    shot(page, "prefect_form")
    page.get_by_role("button", name="Submit").click()
    # Not by the notice's button "View run": the notice moves, and goes away by itself.
    address = page.locator('a[href*="/runs/flow-run/"]').first.get_attribute("href")
    assert address is not None
    page.goto(address)
    ended = page.get_by_text("Promoted", exact=True).or_(
        page.get_by_text(re.compile("^(Failed|Crashed|Cancelled|Completed|Discarded)$"))
    )
    expect(ended.first).to_be_visible(timeout=RUN_MS)
    return page.url


def test_prefect_shows_a_run_that_the_form_has_started(
    flow_run: str, prefect_page: Page, service: Service, shot: Shot
) -> None:
    page = prefect_page
    page.goto(flow_run)
    expect(page.get_by_text("Promoted", exact=True).first).to_be_visible()
    tab(page, "Parameters").click()
    expect(page.get_by_role("tabpanel")).to_contain_text(f'"max_training_epochs": {EPOCHS}')
    tab(page, "Task Runs").click()
    for step in STEPS:
        expect(page.get_by_role("link", name=re.compile(f"^{step} · digits"))).to_be_visible()
    expect(page.get_by_role("tabpanel")).to_contain_text("7 Task runs (7 completed)")
    shot(page, "prefect_run")
    # What the UI shows is what the server has, and what the server has is what was carried out.
    (made,) = service.api("/flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run_id(page)]}}})
    assert made["state"]["type"] == "COMPLETED"
    assert made["parameters"]["settings"]["training"]["max_training_epochs"] == EPOCHS


def flow_run_id(page: Page) -> str:
    found = re.search(r"flow-run/([0-9a-f-]{36})", page.url)
    assert found is not None, page.url
    return found[1]


def test_prefect_shows_the_verdict(flow_run: str, prefect_page: Page, shot: Shot) -> None:
    page = prefect_page
    page.goto("/artifacts/key/verdict-digits")
    expect(page.get_by_text("digits: version 1 against none").first).to_be_visible()
    page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).click()
    expect(page.get_by_text("no champion yet").first).to_be_visible()
    shot(page, "prefect_verdict")


def test_mlflow_shows_run_curves_and_champion(
    flow_run: str, mlflow_page: Page, service: Service, shot: Shot
) -> None:
    page = mlflow_page
    page.goto("/#/experiments")
    page.get_by_role("button", name="Close", exact=True).click()  # a chat that covers a quarter
    # The registered model first: it is delivered last, and MLflow's page of a run keeps to the
    # charts of the metrics that were there when it was opened for the first time.
    page.goto("/#/models/digits")
    row = page.get_by_role("row", name=re.compile("Version 1"))
    # The alias itself: a tag gives "no champion yet" as the reason.
    champion, challenger = (
        page.get_by_text(re.compile(rf"^@\s*{alias}$")) for alias in ("champion", "challenger")
    )
    reloaded_until(page, row.filter(has=champion).filter(has_not=challenger))
    row.scroll_into_view_if_needed()
    shot(page, "mlflow_model")
    row.get_by_role("link", name="Version 1").click()
    expect(page.get_by_role("status", name="champion", exact=True)).to_be_visible()
    expect(page.get_by_role("status", name="challenger", exact=True)).to_have_count(0)
    for tag in ("querist.reason no champion yet", "querist.verdict"):
        expect(page.get_by_role("row", name=re.compile(f"^{re.escape(tag)}"))).to_be_visible()
    shot(page, "mlflow_version")
    page.goto("/#/experiments")
    page.get_by_role("link", name="digits", exact=True).click()
    page.wait_for_url(re.compile(r"/experiments/\d+"))
    page.goto(f"{page.url.partition('?')[0].removesuffix('/runs')}/runs")
    page.get_by_role("link", name="digits version 1").click()
    page.get_by_role("tab", name="Model metrics").click()
    for metric in ("train.loss", "test.accuracy", "test.log_loss"):
        expect(page.get_by_role("heading", name=metric, exact=True)).to_be_visible()
    shot(page, "mlflow_curves")


def test_the_curve_has_a_point_an_epoch(flow_run: str, mlflow_page: Page) -> None:
    """What the chart draws: asked of the server as its page does, with the same login."""
    page = mlflow_page
    asked = page.request.post(
        "/api/2.0/mlflow/runs/search", data=json.dumps({"experiment_ids": ["1", "2"]}),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert asked.ok, asked.text()
    (run,) = (r for r in asked.json()["runs"] if r["info"]["run_name"] == "digits version 1")
    history = page.request.get(
        "/api/2.0/mlflow/metrics/get-history",
        params={"run_id": run["info"]["run_id"], "metric_key": "train.loss"},
    )
    assert len(history.json()["metrics"]) == EPOCHS
