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

generate() { # the model $1, once, if it is one of the zoo's and not there
    local name
    name=$(basename "$1" .onnx)
    if [[ ! -e $1 && $name =~ ^damoyolo-(t|s|m|l|ns|nm|nl)$ ]]; then
        mkdir -p "$(dirname "$1")"
        "$TRTFORGE_BIN" zoo "$name" -o "$1" >&2
    fi
}

[[ -z $MODEL || -z $CONFIG ]] || fail "give MODEL or CONFIG, not both: a configuration names its model"
precision=$PRECISION
if [[ -n $CONFIG ]]; then
    [[ -f $CONFIG ]] || fail "CONFIG=$CONFIG: no such file"
    source=$CONFIG
    name=$(config_value "$CONFIG" model)
    generate "$(dirname "$CONFIG")/$name"
    name=${name:-$CONFIG}
    precision=${precision:-$(config_value "$CONFIG" precision)}
else
    source=${MODEL:-models/damoyolo-t.onnx}
    [[ -n $MODEL ]] || generate "$source"
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
