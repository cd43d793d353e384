#!/bin/sh
# Resolve the locks anew: pinned, hashed, for every Python from 3.11 on, without addresses. Needs uv.
set -eu
cd "$(dirname "$0")"
common="--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet --no-emit-package opsicm"
printf 'hatchling\neditables\n' > build-requirements.tmp
uv pip compile $common pyproject.toml build-requirements.tmp -o requirements.lock
uv pip compile $common --extra test -c requirements.lock pyproject.toml build-requirements.tmp -o requirements-test.lock
# Other projects' scripts of instruments, which tests play to our drivers: their files alone, without what they depend on.
printf 'qcodes\npymeasure\n' | uv pip compile $common --no-deps - -o requirements-scripts.lock
rm build-requirements.tmp
