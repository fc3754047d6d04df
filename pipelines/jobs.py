# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
import dagster as dg

from assets.resources import Experiment
from pipelines.experiments import get_experiment
from pipelines.runs import STAGES, StageRun, make_stages, plan_runs


@dg.op(description="Makes every stage of an experiment, a run a stage and family; what is made already stays as it is.")
def make_all_stages(context: dg.OpExecutionContext, experiment: Experiment) -> None:
    """Do all runs of an experiment, one after another."""

    def tell(run: StageRun, result: dg.ExecuteInProcessResult | None) -> None:
        state = "begins" if result is None else f"is done (run {result.run_id})"
        context.log.info(f"{run.asset_key.to_user_string()} {state}")

    make_stages(
        plan_runs(STAGES, experiment.task_ids),
        context.repository_def.get_implicit_global_asset_job_def(),
        context.instance,
        experiment,
        tell=tell,
        tags={"db1/started_by": context.run_id},
    )


def define_job(name: str, description: str) -> dg.JobDefinition:
    """Define the job that makes all stages of an experiment."""
    configuration = dg.RunConfig(resources={"experiment": get_experiment(name)})

    @dg.job(name=name, description=description, config=configuration, executor_def=dg.in_process_executor)
    def job() -> None:
        make_all_stages()

    return job
