rule tokens:
    input:
        image=cell("image"),
        check="results/check/{slide}.json",
        foreground="results/foreground/{slide}.tif",
        tokenizer="results/tokenizer/tokenizer.safetensors",
    output:
        "results/tokens/{slide}.safetensors",
    log:
        "logs/tokens/{slide}.log",
    benchmark:
        "results/benchmarks/tokens/{slide}.tsv"
    threads: 2
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(120),
    params:
        options=options("tokens"),
    shell:
        """
        holohisto --log {log:q} tokens {input.image:q} \
            --check {input.check:q} \
            --foreground {input.foreground:q} \
            --tokenizer {input.tokenizer:q} \
            --options {params.options:q} \
            --tokens {output:q}
        """
