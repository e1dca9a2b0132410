#!/bin/bash
# Builds one engine for `make engine`: settles the model, the precision and the output's name, then runs
# the release binary, whose summary is the last thing printed.
# Read from the environment: TRTFORGE_BIN, MODEL or CONFIG, PRECISION, WORKSPACE, CALIBRATION (each may be empty).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "make engine: $1" >&2
    exit 2
}

config_value() { # the value of a top-level key in the YAML file $1, without quotes or a comment
    sed -nE "s/^$2:[[:space:]]*[\"']?([^\"'#]*[^\"'#[:space:]])[\"']?[[:space:]]*(#.*)?$/\1/p" "$1" | head -n 1
}

default_model() { # the zoo's smallest DAMO-YOLO, generated once
    local model=models/damoyolo-t.onnx
    if [[ ! -e $model ]]; then
        mkdir -p models
        "$TRTFORGE_BIN" zoo damoyolo-t -o "$model" >&2
    fi
    echo "$model"
}

[[ -z $MODEL || -z $CONFIG ]] || fail "give MODEL or CONFIG, not both: a configuration names its model"
precision=$PRECISION
if [[ -n $CONFIG ]]; then
    [[ -f $CONFIG ]] || fail "CONFIG=$CONFIG: no such file"
    source=$CONFIG
    name=$(config_value "$CONFIG" model)
    name=${name:-$CONFIG}
    precision=${precision:-$(config_value "$CONFIG" precision)}
else
    source=${MODEL:-$(default_model)}
    name=$source
fi
precision=${precision:-fp16}
name=$(basename "$name")
output=engines/${name%.*}-$precision.engine

arguments=(build "$source" --precision "$precision" -o "$output")
[[ -z $WORKSPACE ]] || arguments+=(--workspace "$WORKSPACE")
[[ -z $CALIBRATION ]] || arguments+=(--calibration "$CALIBRATION")
mkdir -p engines
echo "trtforge ${arguments[*]}" >&2
exec "$TRTFORGE_BIN" "${arguments[@]}"
