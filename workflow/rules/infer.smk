rule infer:
    input:
        image=cell("image"),
        check="results/check/{slide}.json",
        foreground="results/foreground/{slide}.tif",
        tokens=plan.if_over_tokens(plan.token_maps(["{slide}"])),
        tokenizer=plan.if_over_tokens(plan.online_tokenizer),
        segmenter=lambda wildcards: plan.segmenter(wildcards.model),
    output:
        labels="results/models/{model}/labels/{slide}.tif",
        probability="results/models/{model}/probability/{slide}.tif",
        facts="results/models/{model}/labels/{slide}.json",
    log:
        "logs/infer/{model}/{slide}.log",
    benchmark:
        "results/benchmarks/infer/{model}/{slide}.tsv"
    wildcard_constraints:
        model=any_of(cfg.computed),
    threads: 4
    resources:
        gpu=1,
        scratch=cfg.scratch or "",
        mem_mb=memory("infer"),
        runtime=minutes("infer"),
    params:
        options=options("infer"),
        classes=options("values"),
    shell:
        """
        holohisto --log {log:q} infer {input.image:q} \
            --scratch={resources.scratch:q} \
            --record {input.check:q} \
            --foreground {input.foreground:q} \
            --tokens results/tokens/{wildcards.slide}.safetensors \
            --tokenizer results/tokenizer/tokenizer.safetensors \
            --segmenter {input.segmenter:q} \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --labels {output.labels:q} \
            --probability {output.probability:q} \
            --facts {output.facts:q} \
            --threads {threads}
        """
