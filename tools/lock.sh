#!/usr/bin/env bash
# Resolves the newest versions and writes them to constraints.txt; torch and what only torch needs stay out,
# because the right build of torch depends on the machine. vllm stays out with all that it pins: it lives in an
# environment of its own.
set -euo pipefail
venv=$1
uv=$(command -v uv || echo "$venv/bin/uv")
rm -f uv.lock
"$uv" lock --quiet
"$uv" export --quiet --no-hashes --no-emit-project --no-annotate --no-header --prune torch \
  --all-extras --no-extra vllm --all-groups --output-file constraints.txt
