rule check:
    input:
        image=cell("image"),
        annotation=ancient(cell("annotation")),  # an edited one reruns what reads its pixels only
    output:
        "results/check/{slide}.json",
    log:
        "logs/check/{slide}.log",
    benchmark:
        "results/benchmarks/check/{slide}.tsv"
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(20),
    params:
        annotation=flag("--annotation", "annotation"),
        annotated=flag("--annotated", "annotated"),
        mpp=flag("--slide-mpp", "mpp"),
        options=options("check"),
        classes=options("values"),
    shell:
        """
        holohisto --log {log:q} check {input.image:q} \
            --slide {wildcards.slide:q} \
            {params.annotation} \
            {params.annotated} \
            {params.mpp} \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --output {output:q}
        """
