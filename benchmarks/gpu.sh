#!/bin/bash
# Tests and benchmarks that need a GPU, in five minutes:
#
#   benchmarks/gpu.sh OUTPUT_FOLDER PATH/TO/data [DEVICE]
#
# Writes the log of each step and the tables (JSON, with the name of the card) into the folder. A
# step that fails or takes too long does not stop the others; the exit status is 1 if any did.
# QUICK=1 takes the smallest sizes, to try the script with DEVICE cpu.
set -u
[ $# -ge 2 ] || { sed -n "2,9s/^# \\?//p" "$0" >&2; exit 2; }
mkdir -p "$1" && out=$(cd "$1" && pwd) && data=$(cd "$2" && pwd) || exit 2
device=${3:-cuda}
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
status=0

# step NAME SECONDS COMMAND...: the command's output goes to NAME.log.
step() {
    local name=$1 seconds=$2 start=$SECONDS
    shift 2
    if timeout "$seconds" "$@" >"$out/$name.log" 2>&1; then
        echo "$name: done in $((SECONDS - start)) s"
    else
        echo "$name: failed with status $? after $((SECONDS - start)) s, see $out/$name.log"
        status=1
    fi
}

tests=(tests -m cuda --continue-on-collection-errors)
rates=()
engine=(--repeats 1 --divergence KL --divergence IS)
convolution=(--seconds 0.5)
if [ -n "${QUICK:-}" ]; then
    tests=(tests/training -m cuda)
    rates=(--size 64)
    engine=(--frames 100 --components 8 --divergence KL --iterations 10 --repeats 1)
    convolution=(--seconds 0.01 --setting 9)
fi
step tests 120 "$python" -m pytest -q -rs -p no:cacheprovider "${tests[@]}"
step rates 60 "$python" -m benchmarks.device_rates --device "$device" --into "$out" \
    ${rates[@]+"${rates[@]}"}
step engine 150 "$python" -m benchmarks.engine --data "$data" --device "$device" --into "$out" \
    ${engine[@]+"${engine[@]}"}
step harmonic_conv 120 "$python" -m benchmarks.harmonic_conv --device "$device" --into "$out" \
    "${convolution[@]}"
exit $status
