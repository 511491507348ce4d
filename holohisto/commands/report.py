"""`holohisto report`: one HTML file with the scores, pictures, failures and costs of a run."""

import argparse
import json
import logging
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import ReportOptions
from holohisto.errors import HolohistoError
from holohisto.report.page import render
from holohisto.report.provenance import provenance
from holohisto.report.results import Run
from holohisto.report.tables import corrections
from holohisto.report.tables.scores import paper_tables
from holohisto.report.tables.trained import trained
from holohisto.runtime import atomic
from holohisto.runtime.results import Results
from holohisto.runtime.units import bytes_text
from holohisto.sheet.rows import read_sheet
from holohisto.statistics.files import write_table

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sheet", type=Path, required=True, help="the sample sheet")
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="folder of the logs")
    parser.add_argument(
        "--models", default="{}", help="section `models` of the configuration, JSON"
    )
    parser.add_argument(
        "--classes", default="{}", help="section `classes` of the configuration, JSON"
    )
    parser.add_argument(
        "--options",
        type=from_json(ReportOptions),
        default=ReportOptions(),
        help="section `report` of the configuration, JSON (default: its defaults)",
    )
    parser.add_argument(
        "--reference",
        help="model that pictures show and others are compared with (default: the first)",
    )
    parser.add_argument(
        "--splits",
        default="val,test,predict",
        help="splits that are segmented, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--parameters", default="{}", help="other sections of the configuration to print, JSON"
    )
    parser.add_argument(
        "--workflow-logs",
        type=Path,
        default=Path(".snakemake/log"),
        help="folder of Snakemake's own logs, with the reason of each job",
    )
    parser.add_argument("--provenance", type=Path, help="JSON file for the provenance, if wanted")
    parser.add_argument("--tables", type=Path, help="folder for the tables as TSV, if wanted")
    parser.add_argument("--output", type=Path, required=True, help="the HTML file")


def run(arguments: argparse.Namespace) -> None:
    options: ReportOptions = arguments.options
    models, classes = json.loads(arguments.models), json.loads(arguments.classes)
    reference = arguments.reference or next(iter(models), "")
    if models and reference not in models:
        raise HolohistoError("--reference", "is no model", found=reference, allowed=list(models))
    given = {"models": models, "classes": classes, "report": options.model_dump(mode="json")}
    shown = Run(
        rows=read_sheet(arguments.sheet, tuple(classes) or None),
        results=arguments.results,
        logs=arguments.logs,
        models=models,
        classes=tuple(classes),
        reference=reference,
        splits=tuple(arguments.splits.split(",")),
        parameters=given | json.loads(arguments.parameters),
    )
    corrected = corrections.corrected_slides(shown)
    if arguments.tables:
        tables = paper_tables(shown, trained(shown))
        tables["corrections"] = corrections.numbers(corrected)
        for name, table in tables.items():
            write_table(table, arguments.tables / f"{name}.tsv")
    origin = provenance(shown, arguments.sheet, arguments.workflow_logs)
    if arguments.provenance:
        atomic.write_text(arguments.provenance, json.dumps(origin, indent=2) + "\n")
    page = render(shown, options, origin, corrected)
    atomic.write_text(arguments.output, page)
    logger.info("%s: %s", arguments.output, bytes_text(len(page.encode())))
