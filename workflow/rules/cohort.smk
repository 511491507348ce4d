rule cohort:
    input:
        expand(
            "results/models/{model}/metrics/{slide}.json",
            model=cfg.models,
            slide=plan.scored,
        ),
    output:
        slides=report(
            "results/cohort/slides.tsv",
            caption="../report/slides.rst",
            category="Scores",
        ),
        groups=report(
            "results/cohort/groups.tsv",
            caption="../report/groups.rst",
            category="Scores",
        ),
        comparisons=report(
            "results/cohort/comparisons.tsv",
            caption="../report/comparisons.rst",
            category="Scores",
        ),
        objects=report(
            "results/cohort/objects.tsv",
            caption="../report/objects.rst",
            category="Scores",
        ),
        distributions=report(
            "results/cohort/distributions.tsv",
            caption="../report/distributions.rst",
            category="Scores",
        ),
    log:
        "logs/cohort/cohort.log",
    benchmark:
        "results/benchmarks/cohort/cohort.tsv"
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        sheet=str(cfg.slides),
        rows=fields(plan.scored, "slide", "group", "subject", "split"),
        models=",".join(cfg.models),
        reference=cfg.reference_model,
        options=options("cohort"),
        classes=options("classes"),
    shell:
        """
        holohisto --log {log:q} cohort \
            --sheet {params.sheet:q} \
            --results results \
            --models {params.models:q} \
            --reference {params.reference:q} \
            --splits test \
            --options {params.options:q} \
            --classes {params.classes:q} \
            --output results/cohort
        """
