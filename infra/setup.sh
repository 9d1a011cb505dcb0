#!/bin/sh
# Put `perennial` into .venv: uv from its hashed lock into the user's cache, then the command's own lock with uv.
# Needs Python with venv; takes 3.11 where the machine has it, else uv fetches one if the network allows.
set -eu
cache="${XDG_CACHE_HOME:-$HOME/.cache}/perennial"
tools="$cache/uv-$(cksum < infra/uv.txt | tr ' ' '-')"
python="${PYTHON:-python3}"
for candidate in python3.11 /usr/bin/python3.11; do
    if "$candidate" -c 'import ensurepip' 2>/dev/null; then python="$candidate"; break; fi
done
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    echo "$python has no venv module; install it (on Debian: apt-get install python3-venv) and run make again." >&2
    exit 2
fi
if [ ! -e "$tools/.complete" ]; then
    echo "setting up uv"
    rm -rf "$tools"
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/uv.txt
    touch "$tools/.complete"
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then python=3.11; fi
echo "installing the perennial command into .venv"
"$tools/bin/uv" venv --quiet --no-project --allow-existing --python "$python" .venv
"$tools/bin/uv" pip sync --quiet --python .venv/bin/python --require-hashes requirements.txt
"$tools/bin/uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
touch .venv/bin/perennial
