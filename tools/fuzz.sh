#!/bin/bash
# Fuzzes every target for a number of seconds (default 30): coverage-guided, with overflow checks and assertions on.
# Corpus and findings stay under fuzz/, out of git. Exits 1 when an input crashes a target, and names the file.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}

# The passes that libFuzzer needs, on the stable compiler. --target keeps build scripts uninstrumented.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 --cfg fuzzing"
triple=$(rustc -vV | sed -n 's/^host: //p')

cp Cargo.lock fuzz/Cargo.lock
CARGO_TARGET_DIR=fuzz/target cargo build --release --quiet --manifest-path fuzz/Cargo.toml --target "$triple"
.deps/venv/bin/python fuzz/seeds.py fuzz/corpus

failed=0
for target in read_onnx read_manifest read_config read_cache settle_quantization open_engine read_arrays; do
    mkdir -p "fuzz/artifacts/$target"
    if "fuzz/target/$triple/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" "fuzz/corpus/$target" 2>fuzz/artifacts/"$target".log
    then
        echo "fuzz $target: $(sed -n 's/^stat::number_of_executed_units: //p' "fuzz/artifacts/$target.log") inputs in $seconds s, none crashed"
    else
        failed=1
        echo "fuzz $target: FAILED; the input is in fuzz/artifacts/$target, the report:"
        tail -n 30 "fuzz/artifacts/$target.log"
    fi
done
exit $failed
