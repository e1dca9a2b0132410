#!/bin/bash
# Measures one model or engine for `make bench`: bench/<model>.json and bench/<model>.svg beside the tables on stdout.
# Read from the environment: TRTFORGE_BIN, MODEL (the small detector where empty), BENCH (further flags; may be empty).
set -euo pipefail
cd "$(dirname "$0")/.."

model=${MODEL:-assets/detector/detector.onnx}
name=$(basename "$model" .onnx)
mkdir -p bench
read -ra flags <<<"${BENCH:-}"
arguments=(bench "$model" -o "bench/${name%.engine}.json" --svg "bench/${name%.engine}.svg" "${flags[@]}")
echo "trtforge ${arguments[*]}" >&2
exec "$TRTFORGE_BIN" "${arguments[@]}"
