#!/bin/bash
# Measures one model or engine for `make bench`: bench/<model>.json and bench/<model>.svg beside the tables on stdout.
# Read from the environment: TRTFORGE_BIN, MODEL, BENCH (further flags; both may be empty).
set -euo pipefail
cd "$(dirname "$0")/.."

model=${MODEL:-models/damoyolo-t.onnx}
name=$(basename "$model" .onnx)
if [[ -z ${MODEL:-} && ! -e $model ]]; then
    mkdir -p models
    "$TRTFORGE_BIN" zoo damoyolo-t -o "$model" >&2
fi
mkdir -p bench
read -ra flags <<<"${BENCH:-}"
arguments=(bench "$model" -o "bench/${name%.engine}.json" --svg "bench/${name%.engine}.svg" "${flags[@]}")
echo "trtforge ${arguments[*]}" >&2
exec "$TRTFORGE_BIN" "${arguments[@]}"
