rule report:
    input:
        # As text: with the outputs of other rules themselves, planning is quadratic in the cohort.
        check=expand("results/check/{slide}.json", slide=rows),
        foreground=expand("results/foreground/{slide}.jpg", slide=rows),
        tokenizer=expand(rules.tokenizer.output) if plan.over_tokens else [],
        tokens=expand(
            [rules.tokens.output.quality, rules.tokens.output.picture], slide=plan.encoded
        ),
        training=expand(rules.train.output.table, model=plan.to_train),
        token_value=expand(rules.token_value.output, model=plan.token_value_models),
        segmenters=plan.segmenters,
        overlays=expand(rules.mask.output.overlay, model=cfg.models, slide=plan.segmented),
        cohort=expand(rules.cohort.output),
        gallery="results/gallery",
        next="results/cohort/correct_next.tsv",
        corrected=drawn_files(rows.values()),
    output:
        page=report("results/report.html", caption="../report/report.rst", category="Report"),
        table1=report(
            "results/tables/table1.tsv", caption="../report/table1.rst", category="Scores"
        ),
        table2=report(
            "results/tables/table2.tsv", caption="../report/table2.rst", category="Scores"
        ),
        table3=report(
            "results/tables/table3.tsv", caption="../report/table3.rst", category="Scores"
        ),
        token_value=report(
            "results/tables/token_value.tsv",
            caption="../report/token_values.rst",
            category="Scores",
        ),
        corrections=report(
            "results/tables/corrections.tsv",
            caption="../report/corrections.rst",
            category="Scores",
        ),
        provenance="results/cohort/provenance.json",
    log:
        "logs/report/report.log",
    benchmark:
        "results/benchmarks/report/report.tsv"
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(30),
    params:
        sheet=str(cfg.slides),
        rows=fields(
            rows, "slide", "group", "subject", "split", "annotation", "corrected_from", "annotated"
        ),
        models=options("models"),
        options=options("report"),
        classes=options("classes"),
        reference=cfg.reference_model,
        splits=",".join(cfg.infer.splits),
        parameters=lambda wildcards: script_safe(cfg.model_dump_json(exclude={"slides", "scratch"})),
    shell:
        """
        holohisto --log {log:q} report \
            --sheet {params.sheet:q} \
            --results results \
            --logs logs \
            --models {params.models:q} \
            --classes {params.classes:q} \
            --options {params.options:q} \
            --reference {params.reference:q} \
            --splits {params.splits:q} \
            --parameters {params.parameters:q} \
            --tables results/tables \
            --provenance {output.provenance:q} \
            --output {output.page:q}
        """
