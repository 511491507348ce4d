rule token_value:
    input:
        images=[rows[slide].image for slide in plan.token_value_slides],
        annotations=[rows[slide].annotation for slide in plan.token_value_slides],
        check=expand("results/check/{slide}.json", slide=plan.token_value_slides),
        foreground=expand("results/foreground/{slide}.tif", slide=plan.token_value_slides),
        tokens=plan.token_maps(plan.token_value_slides),
        segmenter=lambda wildcards: plan.segmenter(wildcards.model),
    output:
        report(
            "results/models/{model}/token_value.tsv",
            caption="../report/token_value.rst",
            category="Tokens",
            labels={"model": "{model}", "shows": "what they add"},
        ),
    log:
        "logs/token_value/{model}.log",
    benchmark:
        "results/benchmarks/token_value/{model}.tsv"
    wildcard_constraints:
        model=any_of(plan.token_value_models),
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(16000),
        runtime=scaled(60 + 10 * len(plan.token_value_slides)),
    params:
        sheet=str(cfg.slides),
        rows=fields(plan.token_value_slides, "slide", "split", "annotated"),
        split=plan.token_value_split,
        classes=options("values"),
    shell:
        """
        holohisto --log {log:q} token_value \
            --sheet {params.sheet:q} \
            --results results \
            --split {params.split} \
            --segmenter {input.segmenter:q} \
            --classes {params.classes:q} \
            --threads {threads} \
            --table {output:q}
        """
