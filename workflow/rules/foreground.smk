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
        saturation=flag("--saturation", "saturation"),
        options=options("foreground"),
    shell:
        """
        holohisto --log {log:q} foreground {input.image:q} \
            --record {input.check:q} \
            {params.saturation} \
            --options {params.options:q} \
            --foreground {output.foreground:q} \
            --picture {output.picture:q}
        """
