#!/bin/bash
# Builds one engine for `make engine`: settles the model, the precision, the calibration data and the output's name,
# then runs the release binary, whose summary is the last thing printed.
# Read from the environment: TRTFORGE_BIN, MODEL, CONFIG, PRECISION, WORKSPACE, CALIBRATION, TRTFORGE_TEST_DATA
# (each but the first may be empty; without MODEL and CONFIG it is the small detector of assets/detector).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "make engine: $1" >&2
    exit 2
}

config_value() { # the value of a top-level key in the YAML file $1, without quotes or a comment
    sed -nE "s/^$2:[[:space:]]*[\"']?([^\"'#]*[^\"'#[:space:]])[\"']?[[:space:]]*(#.*)?$/\1/p" "$1" | head -n 1
}

generate() { # the model $1, once, if it is one of the zoo's and not there
    local name
    name=$(basename "$1" .onnx)
    if [[ ! -e $1 && $name =~ ^damoyolo-(t|s|m|l|ns|nm|nl)$ ]]; then
        mkdir -p "$(dirname "$1")"
        "$TRTFORGE_BIN" zoo "$name" -o "$1" >&2
    fi
}

from_test_data() { # the test data's file or folder $1, if it is there
    [[ -z ${TRTFORGE_TEST_DATA:-} || ! -e $TRTFORGE_TEST_DATA/$1 ]] || echo "$TRTFORGE_TEST_DATA/$1"
}

[[ -n $MODEL || -n $CONFIG ]] || CONFIG=configs/detector.yaml
[[ -z $CONFIG || -f $CONFIG ]] || fail "CONFIG=$CONFIG: no such file"
model=$MODEL
precision=$PRECISION
described=yes # how photographs become the model's input is known
if [[ -n $CONFIG ]]; then
    precision=${precision:-$(config_value "$CONFIG" precision)}
    if [[ -z $model ]]; then
        named=$(config_value "$CONFIG" model)
        path=$(dirname "$CONFIG")/$named
        [[ $named != /* ]] || path=$named
        generate "$path"
        [[ -e $path ]] || model=$(from_test_data "models/$(basename "$named")")
    fi
    source=${model:-$CONFIG}
    name=${model:-${named:-$CONFIG}}
else
    source=$model name=$model described=
fi
precision=${precision:-fp16}
name=$(basename "$name")
output=engines/${name%.*}-$precision.engine

arguments=(build "$source" --precision "$precision" -o "$output")
[[ -z $CONFIG || $source == "$CONFIG" ]] || arguments+=(--config "$CONFIG")
[[ -z $WORKSPACE ]] || arguments+=(--workspace "$WORKSPACE")
photographs=$CALIBRATION
if [[ -z $photographs && -n $described && $precision =~ ^(int8|auto)$ ]] && ! grep -q "^calibration:" "${CONFIG:-/dev/null}"; then
    photographs=$(from_test_data images/calibration)
fi
[[ -z $photographs ]] || arguments+=(--calibration "$photographs")
mkdir -p engines
echo "trtforge ${arguments[*]}" >&2
exec "$TRTFORGE_BIN" "${arguments[@]}"
