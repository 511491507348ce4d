rule train:
    input:
        annotations=[rows[slide].annotation for slide in learned],
        check=expand("results/check/{slide}.json", slide=learned),
        foreground=expand("results/foreground/{slide}.tif", slide=learned),
        tokens=if_over_tokens(token_maps(learned)),
        tokenizer=if_over_tokens("results/tokenizer/tokenizer.safetensors"),
        init=pretrained,
    output:
        segmenter="results/models/{model}/segmenter.safetensors",
        table=report(
            "results/models/{model}/training.tsv",
            caption="../report/training.rst",
            category="Training",
            labels={"model": "{model}"},
        ),
    log:
        "logs/train/{model}.log",
    benchmark:
        "results/benchmarks/train/{model}.tsv"
    threads: 8
    resources:
        gpu=cfg.train.devices,
        recompute=int(cfg.train.recompute),
        mem_mb=scaled(32000),
        runtime=scaled(1440),
    params:
        sheet=str(cfg.slides),
        rows=fields(learned, "slide", "split", "annotated"),
        model=lambda wildcards: cfg.models[wildcards.model].model_dump_json(),
        tokens_options=options("train_tokens"),
        options=options("train"),
        classes=options("values"),
        seed=cfg.seed,
    shell:
        """
        holohisto --log {log:q} train \
            --model {wildcards.model} \
            --sheet {params.sheet:q} \
            --check 'results/check/{{slide}}.json' \
            --foreground 'results/foreground/{{slide}}.tif' \
            --tokens 'results/tokens/{{slide}}.safetensors' \
            --tokenizer results/tokenizer/tokenizer.safetensors \
            --tokens-options {params.tokens_options:q} \
            --model-options {params.model:q} \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --seed {params.seed} \
            --devices {resources.gpu} \
            --recompute {resources.recompute} \
            --workers {threads} \
            --segmenter {output.segmenter:q} \
            --table {output.table:q}
        """
