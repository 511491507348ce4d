#!/usr/bin/env bash
# Measure on this machine's GPU (a CPU: a dry run), without a network: `make gpu` calls it.
# Packages that this Python lacks come from build/gpu-wheels (`make gpu-wheels`, elsewhere).
# usage: run.sh OUTPUT [options of benchmarks.gpu]
set -euo pipefail
cd "$(dirname "$0")/../.."
output=$1; shift
python=${PYTHON:-python3}
limit=${LIMIT:-480}
wheels=${WHEELS:-build/gpu-wheels}
needed='einops imagecodecs lightning_fabric monai openslide psutil pydantic shapely taming'

missing() {
    "$python" -c 'import sys; from importlib.util import find_spec
print(*[name for name in sys.argv[1:] if find_spec(name) is None])' $needed
}

lacking=$(missing)
if [ -n "$lacking" ]; then
    if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
        echo "error: no $lacking here, and no wheels in $wheels: run \`make gpu-wheels\`" >&2
        exit 2
    fi
    site=$(mktemp -d "${TMPDIR:-/tmp}/holohisto-site-XXXXXX")
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
        --disable-pip-version-check --target "$site" "$wheels"/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
    # Without cuCIM the same slides are read through tifffile.
    if ! PYTHONPATH="$PWD:$PYTHONPATH" "$python" -m benchmarks.gpu.slides "$site/try.tif"; then
        echo "cuCIM does not work here: slides are read through tifffile" >&2
        rm -rf "$site"/cucim "$site"/cucim_*
    fi
    lacking=$(missing)
    [ -z "$lacking" ] || { echo "error: no $lacking among the wheels in $wheels" >&2; exit 2; }
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
"$python" -m benchmarks.gpu --output "$output" --limit $((limit - SECONDS)) "$@"
