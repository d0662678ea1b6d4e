#!/usr/bin/env bash
# A parcel for a GPU machine without network: code, inputs, models and wheels, in parts of at most 50 MB.
#
#   benchmarks/gpu.sh pack DIR [PYTHON]     here: parts and their SHA-256 into DIR; PYTHON of the other machine, 3.12
#   bash gpu.sh unpack DIR TARGET           there: join, check, extract and install below TARGET; prints what to run
#
# The other machine has Python, a CUDA build of PyTorch (which is not packed) and a driver. WHEELS=0 leaves the wheels
# out; PART_MB sets the size of a part. TensorRT for RTX is NVIDIA's, under NVIDIA's licence: the parcel is for you.
set -euo pipefail

pack() {
  local out=$1 python=${2:-3.12} root
  root=$(cd "$(dirname "$0")/.." && pwd)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$out" "$work/parcel/trueline" "$work/parcel/wheels"
  git -C "$root" archive HEAD | tar -x -C "$work/parcel/trueline"
  (cd "$root" && "${BIN:-.venv/bin/python}" -m benchmarks.gpu_parcel inputs "$work/parcel")
  if [ "${WHEELS:-1}" != 0 ]; then
    (cd "$root" && "${BIN:-.venv/bin/python}" -m benchmarks.gpu_parcel wheels) >"$work/wheels.txt"
    "${BIN:-$root/.venv/bin/python}" -m pip download --quiet --no-deps --only-binary=:all: --python-version "$python" \
      --dest "$work/parcel/wheels" --requirement "$work/wheels.txt"
  fi
  tar -C "$work" -czf - parcel | split -b "${PART_MB:-50}M" -d -a 3 - "$out/parcel.tgz."
  cp "$root/benchmarks/gpu.sh" "$out/"
  (cd "$out" && sha256sum parcel.tgz.* >SHA256SUMS)
  echo "$(ls "$out" | grep -c '^parcel') part(s) in $out; there: bash gpu.sh unpack $(basename "$out") TARGET"
}

unpack() {
  local parts target
  parts=$(cd "$1" && pwd)
  mkdir -p "$2"
  target=$(cd "$2" && pwd)
  (cd "$parts" && sha256sum --quiet --check SHA256SUMS) || { echo "a part is damaged or missing: copy it again" >&2; exit 1; }
  cat "$parts"/parcel.tgz.* | tar -xz -C "$target"
  if compgen -G "$target/parcel/wheels/*.whl" >/dev/null; then
    python3 -m pip install --quiet --no-index --no-deps --target "$target/site" "$target"/parcel/wheels/*.whl
  fi
  echo "cd $target/parcel/trueline && PYTHONPATH=.:$target/site python3 -m benchmarks.gpu --inputs ../inputs --out $target/gpu.json"
}

case "${1:-}" in
  pack) [ $# -ge 2 ] && shift && pack "$@" ;;
  unpack) [ $# -eq 3 ] && shift && unpack "$@" ;;
  *) sed -n '2,8p' "$0" >&2; exit 2 ;;
esac
