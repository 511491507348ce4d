# Slides that are segmented and not annotated, which may be corrected next.
predicted = [slide for slide in plan.segmented if rows[slide].annotation is None]


rule gallery:
    input:
        images=[rows[slide].image for slide in plan.scored],
        annotations=[rows[slide].annotation for slide in plan.scored],
        check=expand("results/check/{slide}.json", slide=plan.scored),
        metrics=expand(
            "results/models/{model}/metrics/{slide}.json",
            model=cfg.models,
            slide=plan.scored,
        ),
        masks=expand(
            "results/models/{model}/masks/{slide}_{name}.tif",
            model=cfg.models,
            slide=plan.scored,
            name=cfg.classes,
        ),
        scores="results/cohort/slides.tsv",
        predicted=[rows[slide].image for slide in predicted],
        predicted_check=expand("results/check/{slide}.json", slide=predicted),
        predicted_files=expand(
            [
                "results/models/{model}/masks/{slide}.json",
                "results/models/{model}/probability/{slide}.tif",
            ],
            model=cfg.reference_model,
            slide=predicted,
        ),
    output:
        pictures=report(
            directory("results/gallery"),
            patterns=["{name}.jpg"],
            caption="../report/gallery.rst",
            category="Gallery",
        ),
        next=report(
            "results/cohort/correct_next.tsv",
            caption="../report/correct_next.rst",
            category="Gallery",
        ),
    log:
        "logs/gallery/gallery.log",
    benchmark:
        "results/benchmarks/gallery/gallery.tsv"
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60 + len(predicted)),
    params:
        sheet=str(cfg.slides),
        rows=fields([*plan.scored, *predicted], "slide", "group", "annotated"),
        models=",".join(cfg.models),
        reference=cfg.reference_model,
        splits=",".join(cfg.infer.splits),
        options=options("gallery"),
        classes=options("classes"),
    shell:
        """
        holohisto --log {log:q} gallery \
            --sheet {params.sheet:q} \
            --results results \
            --models {params.models:q} \
            --reference {params.reference:q} \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --splits {params.splits:q} \
            --next {output.next:q} \
            --output {output.pictures:q}
        """
