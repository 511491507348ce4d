rule train:
    input:
        annotations=[rows[slide].annotation for slide in plan.learned],
        check=expand("results/check/{slide}.json", slide=plan.learned),
        foreground=expand("results/foreground/{slide}.tif", slide=plan.learned),
        tokens=plan.if_over_tokens(plan.token_maps(plan.learned)),
        tokenizer=plan.if_over_tokens("results/tokenizer/tokenizer.safetensors"),
        pretrained=plan.pretrained,
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
        gpu=cfg.train.devices * cfg.train.nodes,
        nodes=cfg.train.nodes,
        mpi="srun" if plan.several_nodes else None,
        tasks=cfg.train.nodes if plan.several_nodes and cfg.train.devices == 1 else None,
        tasks_per_node=cfg.train.devices if plan.several_nodes and cfg.train.devices > 1 else None,
        tasks_per_gpu=0 if plan.several_nodes else None,  # otherwise the plugin uses `tasks` for it
        slurm_extra=gpus_of_a_node if plan.several_nodes and cfg.train.devices > 1 else None,
        start=plan.srun if plan.several_nodes else "",
        activation_checkpointing={None: "auto", False: "0", True: "1"}[
            cfg.train.activation_checkpointing
        ],
        mem_mb=scaled(16000 + 16000 * cfg.train.devices),  # for each node
        runtime=scaled(1440),
    params:
        sheet=str(cfg.slides),
        rows=fields(plan.learned, "slide", "split", "annotated"),
        model=lambda wildcards: script_safe(cfg.models[wildcards.model].model_dump_json()),
        tokens_options=options("train_tokens"),
        options=options("train"),
        classes=options("values"),
        seed=cfg.seed,
    shell:
        """
        {resources.start} holohisto --log {log:q} train \
            --model {wildcards.model} \
            --sheet {params.sheet:q} \
            --results results \
            --tokens-options {params.tokens_options:q} \
            --model-options {params.model:q} \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --seed {params.seed} \
            --devices $(({resources.gpu} / {resources.nodes})) \
            --nodes {resources.nodes} \
            --activation-checkpointing {resources.activation_checkpointing} \
            --cache-mb $(({resources.mem_mb} / 16)) \
            --workers {threads} \
            --segmenter {output.segmenter:q} \
            --table {output.table:q}
        """


# Looked up here: in a workflow that uses this one as a module, the rule has another name.
train_rule = rules.train.rule
