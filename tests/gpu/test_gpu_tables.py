"""Tables of the GPU benchmark, and results of the tests it runs."""

import sys
from pathlib import Path

import holohisto

sys.path.insert(0, str(Path(holohisto.__file__).parents[1]))  # benchmarks are no part of the wheel
from benchmarks.gpu import table

RUN = {
    "dry_run": True,
    "device": "cpu",
    "cores": 2,
    "python": "3.11.7",
    "packages": {"torch": "2.13.0"},
    "cuda": None,
    "started": "2026-01-02 03:04 UTC",
    "parts": {
        "tests": {
            "status": "failed",
            "seconds": 6.25,
            "reason": "RuntimeError: pytest ended with 1",
            "result": {"passed": 12, "failed": 1, "skipped": 0, "failures": {"t.py::a": "no"}},
        },
        "encoder": {
            "status": "done",
            "seconds": 20,
            "result": {
                "crop": [3840, 2160],
                "tokens_per_second": 123456.7,
                "tflops": 99.5,
                "peak_tflops": 800.25,
                "share_of_peak": 0.1243,
            },
        },
        "training": {
            "status": "failed",
            "seconds": 60,
            "reason": "size B: out of memory | again",
            "result": {
                "tile": [3840, 2160],
                "batch": 8,
                "models": {
                    "S": {
                        "micro_batch": 4,
                        "steps_per_second": 1.25,
                        "tiles_per_second": 10,
                        "peak_gb": 31.5,
                        "waited_share": 0.25,
                        "gpu_busy": None,
                    },
                    "B": {"reason": "out of memory"},
                },
            },
        },
        "slide": {
            "status": "out of time",
            "seconds": 145.0,
            "reason": "ended after 145 s",
            "result": {
                "size": [44896, 46410],
                "segmenter": "S",
                "trained": False,
                "stages": {
                    "check": {"seconds": 1.5, "gpu_busy": None},
                    "infer": {"seconds": 60.0, "gpu_busy": 0.875, "own_busy": 0.9},
                },
                "seconds_in_all": 61.5,
            },
        },
        "attention": {
            "status": "done",
            "seconds": 9.0,
            "result": {
                "races": {
                    "68x120": {
                        "LiteMLA": {"least_ms": 3.0, "median_ms": 3.1, "peak_mb": 122.4},
                        "ours": {"least_ms": 1.5, "median_ms": 1.6, "peak_mb": 109.0},
                    }
                },
                "missed": ["68x120: no slower"],
            },
        },
    },
}


TABLES = """\
# Figures of a GPU

cpu, 2 cores, Python 3.11.7, torch 2.13.0, no CUDA, 2026-01-02 03:04 UTC.

**Dry run: small sizes, the figures mean nothing.**

| part | status | seconds | reason |
| --- | --- | --- | --- |
| tests | failed | 6.2 | RuntimeError: pytest ended with 1 |
| encoder | done | 20.0 |  |
| training | failed | 60.0 | size B: out of memory / again |
| slide | out of time | 145.0 | ended after 145 s |
| attention | done | 9.0 |  |

## Tests marked gpu

12 passed, 1 failed, 0 skipped.

- t.py::a: no

## Encoder, bf16

| crop | tokens/s | TFLOP/s | peak TFLOP/s (bf16 product) | share of the peak |
| --- | --- | --- | --- | --- |
| 3840 x 2160 | 123,457 | 99.50 | 800.25 | 12.4 % |

## Training, tiles of 3840 x 2160, 8 a step

| size | micro-batch | steps/s | tiles/s | peak GB | waited for data | GPU busy |
| --- | --- | --- | --- | --- | --- | --- |
| S | 4 | 1.250 | 10.00 | 31.5 | 25.0 % | - |
| B | - | - | - | - | - | - |

## A slide of 44896 x 46410, size S, untrained

| stage | seconds | GPU busy | not waiting for pixels |
| --- | --- | --- | --- |
| check | 1.5 | - | - |
| infer | 60.0 | 87.5 % | 90.0 % |
| all | 61.5 |  |  |

## Attention

| race | ours | beside it | times as fast |
| --- | --- | --- | --- |
| 68x120 | 1.50 ms, 109 MB | LiteMLA: 3.00 ms, 122 MB | 2.00 |

- missed: 68x120: no slower
"""


def test_the_tables_of_a_run():
    assert table.render(RUN) == TABLES


def test_tables_of_a_run_that_was_cut_off_at_once():
    text = table.render({"device": "one GPU", "gpu_memory_gb": 80.0, "cuda": "13.0", "parts": {}})
    assert text.startswith("# Figures of a GPU\n\none GPU, 80.0 GB, ? cores, Python ?, torch ?")
    parts = {name: {"status": "running", "result": {"stages": {}}} for name in RUN["parts"]}
    assert "| slide | running | - |  |" in table.render({"parts": parts})
