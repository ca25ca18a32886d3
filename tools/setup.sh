#!/usr/bin/env bash
# Makes the virtual environment $1 with python $2 and installs whet, its tests and its tools into it.
# A torch wheel that pip finds by itself on this machine wins; otherwise uv picks the build that fits the hardware.
set -euo pipefail
venv=$1 python=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "whet needs Python 3.11 or newer; $python is older. Try: make PYTHON=python3.12 ..." >&2
  exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
  uv=$venv/bin/uv
fi
export VIRTUAL_ENV=$PWD/$venv UV_LINK_MODE=${UV_LINK_MODE:-copy}

if ! "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
  echo "torch: looking for a local wheel, then for the build of this machine"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile torch 2>/dev/null \
    || "$uv" pip install --quiet --torch-backend=auto -c constraints.txt torch
fi
echo "whet: installing with its tests and tools"
"$uv" pip install --quiet --compile-bytecode -c constraints.txt -e . --group dev
