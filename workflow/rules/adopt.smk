rule adopt:
    input:
        masks=lambda wildcards: cfg.models[wildcards.model].of(wildcards.slide),
        check="results/check/{slide}.json",
    output:
        labels="results/models/{model}/labels/{slide}.tif",
        probability="results/models/{model}/probability/{slide}.tif",
    log:
        "logs/adopt/{model}/{slide}.log",
    benchmark:
        "results/benchmarks/adopt/{model}/{slide}.tsv"
    wildcard_constraints:
        model=any_of(cfg.from_elsewhere),
    resources:
        mem_mb=memory("adopt"),
        runtime=minutes("adopt"),
    params:
        classes=options("values"),
    shell:
        """
        holohisto --log {log:q} adopt {input.masks:q} \
            --record {input.check:q} \
            --model {wildcards.model} \
            --classes {params.classes:q} \
            --labels {output.labels:q} \
            --probability {output.probability:q}
        """
