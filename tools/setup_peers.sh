#!/usr/bin/env bash
# Makes the environment $1 with python $2 in which whet is compared with TRL 1.16; torch comes the way $3 got it.
set -euo pipefail
peers=$1 python=$2 venv=$3
[ -x "$peers/bin/python" ] || "$python" -m venv "$peers"
uv=$(command -v uv || echo "$venv/bin/uv")
export VIRTUAL_ENV=$PWD/$peers UV_LINK_MODE=${UV_LINK_MODE:-copy}
"$peers/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile torch 2>/dev/null \
  || "$uv" pip install --quiet --torch-backend=auto torch
"$uv" pip install --quiet --compile-bytecode "trl==1.16.0" -e . --group dev
