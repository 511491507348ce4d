rule check:
    input:
        image=cell("image"),
        # Not named in the command; a change of them changes the record, and all steps after it.
        companions=companions,
        # When an annotation changes, only the steps that read its pixels run again.
        annotation=ancient(cell("annotation")),
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
