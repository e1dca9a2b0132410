#!/bin/bash
# What `make gpu-check` does: looks for a GPU, builds trtforge and engines of the default models, and checks them on it.
# The JSON document goes to standard output and to engines/gpu-check.json. Exit code 0: all is as wanted; 1: something is
# not; 2: an engine could not be built; 3: there is no GPU, and nothing was built.
# Read from the environment: TRTFORGE_BIN, GPU_CHECK_BIN, TRTFORGE_TEST_DATA, GPU_PAIRS, GPU_INFERENCES (the last three may
# be empty). GPU_PAIRS: more engines to check, each ENGINE=FP32.onnx.
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
found=$("$GPU_CHECK_BIN" 2>/dev/null) || status=$?
if [[ $status -eq 3 ]]; then
    echo "$found"
    echo "make gpu-check: there is no GPU that can be used here" >&2
    exit 3
fi

"${MAKE:-make}" --no-print-directory release >&2

pairs=()
check() { # builds an engine of the model $1 in the precision $2, by the configuration $3 if there is one
    local name
    name=$(basename "$1" .onnx)
    MODEL=$([[ -n $3 ]] || echo "$1") CONFIG=$3 PRECISION=$2 WORKSPACE='' CALIBRATION='' tools/engine.sh >&2 || exit 2
    pairs+=("engines/$name-$2.engine=$1")
}

stages() { # builds the model $1 in $2 stages in the precision $3, by the configuration $4
    local output
    output=engines/$(basename "$1" .onnx)-$3-stages.engine
    "$TRTFORGE_BIN" build "$1" --config "$4" --precision "$3" --stages "$2" --no-lean --no-search -o "$output" >&2 || exit 2
    pairs+=("$output=$1")
}

for precision in fp32 fp16; do
    check models/damoyolo-t.onnx "$precision" configs/damoyolo-t.yaml
done
stages models/damoyolo-t.onnx 4 fp16 configs/damoyolo-t.yaml
stages assets/detector/detector.onnx 3 int8 configs/detector.yaml
if [[ -n ${TRTFORGE_TEST_DATA:-} ]]; then
    check "$TRTFORGE_TEST_DATA/models/yolox_nano_416.onnx" fp16 configs/yolox-nano.yaml
    check "$TRTFORGE_TEST_DATA/models/yolox_nano_416.onnx" int8 configs/yolox-nano.yaml
    # Height and width within a range, so that the profile has three shapes.
    ranges=$(mktemp --suffix .yaml)
    trap 'rm -f "$ranges"' EXIT
    model=$TRTFORGE_TEST_DATA/models/ppocr_v3_det.onnx
    printf 'model: %s\nshapes: {x: {min: 1x3x320x320, opt: 1x3x640x640, max: 1x3x960x960}}\n' "$model" >"$ranges"
    check "$model" fp16 "$ranges"
fi
read -ra more <<<"${GPU_PAIRS:-}"

"$GPU_CHECK_BIN" --inferences "${GPU_INFERENCES:-10000}" "${pairs[@]}" "${more[@]}" | tee engines/gpu-check.json
