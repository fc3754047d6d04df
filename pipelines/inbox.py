# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import json
import os
from collections.abc import Mapping
from dataclasses import asdict

import dagster as dg
from pydantic import Field

from assets.resources import Stores
from tasks.exchange.importing import ROUTE
from tasks.exchange.inbox import LAYOUT, Drop, import_drop, list_drops

VARIABLE = "DB1_INBOX"
_DROP_TAG, _FINGERPRINT_TAG = "db1/inbox", "db1/fingerprint"


class Dropped(dg.Config):
    """What a run imports."""

    task: str = Field(description="Id of the task.")
    format: str = Field(description="Format of the files.")
    source: str = Field(description="Folder of the inbox, a path or a URL.")
    files: list[str] = Field(description="Paths of the files below it.")
    fingerprint: str = Field(description="Digest of their names, sizes and times or tags.")


@dg.op(pool="experts", description="Stores what lies in a folder of the inbox as its task's trajectories.")
def import_dropped(context: dg.OpExecutionContext, config: Dropped, stores: Stores) -> None:
    """Import, and tell what was stored."""
    drop = Drop(config.task, config.format, config.source, tuple(config.files), config.fingerprint)
    done = import_drop(drop, stores.locations, num_processes=os.cpu_count() or 1)
    facts = done.manifest.metadata
    how = "stored before" if done.found else "imported"
    context.log.info(f"{drop.task}: {facts['num_episodes']:,} episodes {how} from {drop.source}, {facts[ROUTE]}")


@dg.job(
    name="import_inbox",
    executor_def=dg.in_process_executor,
    description=f"Imports one folder of the inbox. The sensor `inbox` starts it where {VARIABLE} names an inbox.",
)
def import_inbox() -> None:
    """Import one folder of the inbox."""
    import_dropped()


@dg.sensor(
    name="inbox",
    job=import_inbox,
    minimum_interval_seconds=60,
    description=f"Imports data that are put into the folder or URL of the environment variable {VARIABLE}, as "
    f"{LAYOUT}, once they have stayed as they are from one look to the next. What cannot be imported is told here, "
    "and stops nothing else. The sensor `new_data` then retrains.",
)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Ask for one run of each folder that is new or changed, and tell what became of the others."""
    if not (place := os.environ.get(VARIABLE)):
        return dg.SensorResult(
            skip_reason=f"{VARIABLE} is not set; let it name a folder, or a URL such as s3://b/inbox"
        )
    try:
        drops, faults = list_drops(place)
    except (OSError, ValueError) as error:
        return dg.SensorResult(skip_reason=f"{place}: {error}", cursor=context.cursor)
    seen: Mapping[str, str] = json.loads(context.cursor or "{}")
    requests = []
    told = {name: f"not imported: {fault}" for name, fault in faults.items()}
    for drop in drops:
        tags = {_DROP_TAG: drop.name, _FINGERPRINT_TAG: drop.fingerprint}
        if run := next(iter(context.instance.get_runs(dg.RunsFilter(tags=tags), limit=1)), None):
            told[drop.name] = _tell(context.instance, run)
        elif seen.get(drop.name) != drop.fingerprint:
            told[drop.name] = "new or changed; imported if it is still so at the next look"
        else:
            config = {"ops": {"import_dropped": {"config": asdict(drop) | {"files": list(drop.files)}}}}
            requests.append(dg.RunRequest(run_key=f"{drop.name} {drop.fingerprint}", run_config=config, tags=tags))
    for name, words in told.items():
        if words.startswith("not imported"):
            context.log.warning(f"{name}: {words}")
    lines = "\n".join(f"{name}: {words}" for name, words in told.items()) or f"nothing lies in {place}"
    cursor = json.dumps({drop.name: drop.fingerprint for drop in drops})
    return dg.SensorResult(run_requests=requests, skip_reason=None if requests else lines, cursor=cursor)


def _tell(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Say what became of a run that imports."""
    if run.status != dg.DagsterRunStatus.FAILURE:
        return "imported" if run.is_success else f"run {run.run_id} is {run.status.value.lower()}"
    for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data = record.dagster_event and record.dagster_event.step_failure_data
        if data and data.error:
            error = data.error.cause or data.error
            return f"not imported: {error.message.strip()} (run {run.run_id})"
    return f"not imported: run {run.run_id} failed, see its log"
