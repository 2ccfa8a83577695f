"""A learner as a flow run of a deployment: on any machine that has a worker for it."""

from __future__ import annotations

import asyncio
import logging

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from querist.config.experiment import Experiment
from querist.config.parallel import ParallelConfig
from querist.errors import ConfigurationError, RunError
from querist.phases.conclude import Summary, read_summary
from querist.runs.reference import RunReference

DEPLOYMENT = "active_learning/active_learning"
POLL_SECONDS = 1.0
_log = logging.getLogger(__name__)


async def run_deployed(
    config: ParallelConfig, experiment: Experiment, run: RunReference
) -> Summary:
    """Have a worker run one learner, and wait for its end.

    The run's folder must be reachable from here and from there.

    Raises:
        ConfigurationError: there is no such deployment.
        RunError: its flow run did not end well.
    """
    name = config.address or DEPLOYMENT
    try:
        flow_run: FlowRun = await arun_deployment(
            name=name,
            parameters={"experiment": experiment.model_dump(mode="json"), "run_id": run.run_id},
            flow_run_name=experiment.name,
            timeout=0,
            as_subflow=True,
        )
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"there is no deployment {name!r}: serve it, or name another in parallel.address"
        ) from error
    async with get_client() as client:
        try:
            while flow_run.state is None or not flow_run.state.is_final():
                await asyncio.sleep(POLL_SECONDS)
                flow_run = await client.read_flow_run(flow_run.id)
        except asyncio.CancelledError:
            await client.set_flow_run_state(flow_run.id, Cancelling(), force=False)
            raise
    if not flow_run.state.is_completed():
        raise RunError(
            f"flow run {flow_run.name!r} ended {flow_run.state.name}, "
            f"{flow_run.state.message or 'without a word'}: `querist resume {run.run_id}` goes on "
            "where the run stands"
        )
    return read_summary(run.folder)
