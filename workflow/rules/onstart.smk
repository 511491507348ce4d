from holohisto.planning import local_jobs
from snakemake.logging import logger


# Where jobs run in containers, or on a cluster, a process of this machine cannot run them.
onstart:
    here = on_this_machine and not workflow.deployment_settings.deployment_method
    if here and local_jobs.start_server(workflow.dag.needrun_jobs(), rows):
        logger.info("Jobs of small images run in forks of one process.")
