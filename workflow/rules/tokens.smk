rule tokens:
    input:
        image=cell("image"),
        check="results/check/{slide}.json",
        foreground="results/foreground/{slide}.tif",
        tokenizer="results/tokenizer/tokenizer.safetensors",
    output:
        tokens="results/tokens/{slide}.safetensors",
        quality=report(
            "results/tokens/{slide}.json",
            caption="../report/tokens.rst",
            category="Tokens",
            labels={"slide": "{slide}", "shows": "numbers"},
        ),
        picture=report(
            "results/tokens/{slide}.jpg",
            caption="../report/rebuilt.rst",
            category="Tokens",
            labels={"slide": "{slide}", "shows": "picture"},
        ),
    log:
        "logs/tokens/{slide}.log",
    benchmark:
        "results/benchmarks/tokens/{slide}.tsv"
    threads: 4
    resources:
        gpu=1,
        scratch=cfg.scratch or "",
        mem_mb=memory("tokens"),
        runtime=minutes("tokens"),
    params:
        options=plan.token_options,
    shell:
        """
        holohisto --log {log:q} tokens {input.image:q} \
            --scratch={resources.scratch:q} \
            --record {input.check:q} \
            --foreground {input.foreground:q} \
            --tokenizer {input.tokenizer:q} \
            --options {params.options:q} \
            --tokens {output.tokens:q} \
            --quality {output.quality:q} \
            --picture {output.picture:q} \
            --threads {threads}
        """
