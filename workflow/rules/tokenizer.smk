# A checkpoint depends on no slide: a new training slide does not encode all others again.
tissue = [] if cfg.tokenizer.checkpoint else plan.slides("train")


rule tokenizer:
    input:
        # An edited annotation trains segmenters again, but not the tokenizer: all token maps would
        # have to be computed anew.
        annotations=ancient([rows[slide].annotation for slide in plan.annotated_for_tokenizer]),
        check=expand("results/check/{slide}.json", slide=tissue),
        foreground=expand("results/foreground/{slide}.tif", slide=tissue),
        checkpoint=checkpoint_files,
    output:
        tokenizer="results/tokenizer/tokenizer.safetensors",
        table=report(
            "results/tokenizer/training.tsv",
            caption="../report/training.rst",
            category="Training",
            labels={"model": "tokenizer"},
        ),
        picture=report(
            "results/tokenizer/reconstruction.jpg",
            caption="../report/reconstruction.rst",
            category="Training",
            labels={"model": "tokenizer"},
        ),
    log:
        "logs/tokenizer/tokenizer.log",
    benchmark:
        "results/benchmarks/tokenizer/tokenizer.tsv"
    priority: 10  # most other jobs wait for it
    threads: 4
    resources:
        gpu=1,
        mem_mb=scaled(16000),
        runtime=scaled(1440),
    params:
        sheet=str(cfg.slides),
        options=options("tokenizer"),
        classes=plan.tokenizer_classes,
        seed=cfg.seed,
    shell:
        """
        holohisto --log {log:q} tokenizer \
            --sheet {params.sheet:q} \
            --results results \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --seed {params.seed} \
            --cache-mb $(({resources.mem_mb} / 16)) \
            --tokenizer {output.tokenizer:q} \
            --table {output.table:q} \
            --picture {output.picture:q}
        """
