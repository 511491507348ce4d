rule metrics:
    input:
        annotation=cell("annotation"),
        check="results/check/{slide}.json",
        foreground="results/foreground/{slide}.tif",
        labels="results/models/{model}/labels/{slide}.tif",
        probability="results/models/{model}/probability/{slide}.tif",
        # Not read; it orders the rule after `mask`, so that both can be one job of a cluster.
        masks="results/models/{model}/masks/{slide}.json",
    output:
        "results/models/{model}/metrics/{slide}.json",
    log:
        "logs/metrics/{model}/{slide}.log",
    benchmark:
        "results/benchmarks/metrics/{model}/{slide}.tsv"
    resources:
        mem_mb=memory("metrics"),
        runtime=minutes("metrics"),
    params:
        annotated=flag("--annotated", "annotated"),
        options=options("metrics"),
        mask_options=plan.mask_options,
        classes=options("values"),
    shell:
        """
        holohisto --log {log:q} metrics {input.labels:q} \
            --record {input.check:q} \
            --annotation {input.annotation:q} \
            --foreground {input.foreground:q} \
            --probability {input.probability:q} \
            {params.annotated} \
            --options {params.options:q} \
            --mask-options {params.mask_options:q} \
            --classes {params.classes:q} \
            --output {output:q}
        """
