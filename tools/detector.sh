#!/bin/bash
# Makes the small detector anew for `make detector`: photographs and labels from their seeds, training, INT8, scores.
# Everything goes to models/detector; assets/detector gets it where the scores are reached.
# Read from the environment: TRTFORGE_BIN, DETECTOR_PYTHON, DETECTOR_FLAGS (of detector.train; may be empty).
set -euo pipefail
cd "$(dirname "$0")/.."

python=$DETECTOR_PYTHON
work=models/detector
assets=assets/detector
export PYTHONPATH=tools
read -ra flags <<<"${DETECTOR_FLAGS:-}"

mkdir -p "$work"
"$python" -m detector.data --out "$work"
"$python" -m detector.train --out "$work" "${flags[@]}"
"$TRTFORGE_BIN" quantize "$work/model.onnx" --config configs/detector.yaml --calibration "$work/calibration" \
    --precision int8 -o "$work/model-int8.onnx"
"$python" -m detector.evaluate "$work/model.onnx" "$work/model-int8.onnx" --data "$work" --json "$work/scores.json" \
    --least-ap 0.60 --most-lost 0.005

mkdir -p "$assets"
cp -r "$work"/{calibration,evaluation,evaluation.json,classes.txt} "$assets"
cp "$work/model.onnx" "$assets/detector.partial"
mv "$assets/detector.partial" "$assets/detector.onnx"
echo "detector: $assets is made anew"
