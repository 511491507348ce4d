from holohisto.planning import local_jobs


# Where jobs run in containers, or on a cluster, a process of this machine cannot run them.
onstart:
    if on_this_machine and not workflow.deployment_settings.deployment_method:
        local_jobs.start_server(workflow.dag.needrun_jobs(), rows)
