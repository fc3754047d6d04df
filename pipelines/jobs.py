# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import dagster as dg

from assets.due import find_due
from assets.resources import Experiment, Stores
from pipelines.experiments import get_experiment
from pipelines.runs import STAGES, StageRun, make_stages, plan_runs

_SHOWN = 10  # tasks that the log names
_ORIGIN_TAGS = ("dagster/sensor_name", "dagster/schedule_name")  # by which the UI says who started a run


def define_stage(stage: str) -> dg.OpDefinition:
    """Define the step of a job that makes one stage of an experiment, a run a family."""

    @dg.op(
        name=f"make_{stage}",
        ins={"before": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        description=f"Makes {stage} of those tasks of the experiment whose data or recipe changed, a run a family.",
    )
    def make(context: dg.OpExecutionContext, stores: Stores, experiment: Experiment) -> None:
        def tell(run: StageRun, result: dg.ExecuteInProcessResult | None) -> None:
            state = "begins" if result is None else f"is made, see run {result.run_id}"
            what = [run.asset_key.to_user_string(), " to ".join(dict.fromkeys((run.first_task, run.last_task)))]
            context.log.info(" ".join(filter(None, [*what, state])))

        due = find_due(stage, stores, experiment, context.instance)
        shown = ", ".join(due[:_SHOWN])
        context.log.info(f"{stage}: {f'{len(due)} to make, {shown}' if due else 'nothing to make'}")
        job = context.repository_def.get_implicit_global_asset_job_def()
        runs = plan_runs([stage], due) if due else []
        tags = {"db1/started_by": context.run_id}
        tags |= {name: value for name, value in context.run_tags.items() if name in _ORIGIN_TAGS}
        make_stages(runs, job, context.instance, experiment, tell=tell, warn=context.log.warning, tags=tags)

    return make


MAKE_STAGES = [define_stage(stage) for stage in STAGES]


def define_job(name: str, description: str) -> dg.JobDefinition:
    """Define the job that makes all stages of an experiment.

    Its steps start runs of the assets, because a Dagster job takes assets of one set of partitions only.
    """
    configuration = dg.RunConfig(resources={"experiment": get_experiment(name)})

    @dg.job(name=name, description=description, config=configuration, executor_def=dg.in_process_executor)
    def job() -> None:
        before = MAKE_STAGES[0]()
        for make in MAKE_STAGES[1:]:
            before = make(before)

    return job
