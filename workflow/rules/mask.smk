rule mask:
    input:
        image=cell("image"),
        annotation=cell("annotation"),
        check="results/check/{slide}.json",
        labels="results/models/{model}/labels/{slide}.tif",
        probability="results/models/{model}/probability/{slide}.tif",
    output:
        masks=expand(
            "results/models/{{model}}/masks/{{slide}}_{name}{kind}",
            name=cfg.classes,
            kind=[".tif", ".ome.tif"] if cfg.mask.ome else [".tif"],
        ),
        geojson="results/models/{model}/geojson/{slide}.geojson" + (".gz" if cfg.mask.gzip else ""),
        facts="results/models/{model}/masks/{slide}.json",
        overlay=report(
            "results/models/{model}/overlays/{slide}.jpg",
            caption="../report/overlay.rst",
            category="Overlays",
            subcategory="{model}",
            labels={"slide": "{slide}"},
        ),
    log:
        "logs/mask/{model}/{slide}.log",
    benchmark:
        "results/benchmarks/mask/{model}/{slide}.tsv"
    threads: 2
    resources:
        mem_mb=memory("mask"),
        runtime=minutes("mask"),
    params:
        annotation=flag("--annotation", "annotation"),
        annotated=flag("--annotated", "annotated"),
        options=plan.mask_options,
        classes=options("classes"),
    shell:
        """
        holohisto --log {log:q} mask {input.labels:q} \
            --image {input.image:q} \
            --record {input.check:q} \
            --probability {input.probability:q} \
            {params.annotation} \
            {params.annotated} \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --masks 'results/models/{wildcards.model}/masks/{wildcards.slide}_{{class}}.tif' \
            --geojson {output.geojson:q} \
            --overlay {output.overlay:q} \
            --facts {output.facts:q}
        """
