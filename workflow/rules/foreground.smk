rule foreground:
    input:
        image=cell("image"),
        check="results/check/{slide}.json",
    output:
        foreground="results/foreground/{slide}.tif",
        picture=report(
            "results/foreground/{slide}.jpg",
            caption="../report/foreground.rst",
            category="Foreground",
            labels={"slide": "{slide}"},
        ),
    log:
        "logs/foreground/{slide}.log",
    benchmark:
        "results/benchmarks/foreground/{slide}.tsv"
    resources:
        mem_mb=memory("foreground"),
        runtime=minutes("foreground"),
    params:
        threshold=flag("--threshold", "threshold"),
        options=options("foreground"),
    shell:
        """
        holohisto --log {log:q} foreground {input.image:q} \
            --check {input.check:q} \
            {params.threshold} \
            --options {params.options:q} \
            --foreground {output.foreground:q} \
            --picture {output.picture:q}
        """
