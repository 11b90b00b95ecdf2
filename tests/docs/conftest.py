# SPDX-License-Identifier: MIT
import pathlib
import sys

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[1]
for folder in ("interop", "system"):
    sys.path.insert(0, str(ROOT / folder))

from harness import etcp  # noqa: E402,F401  (a fixture)
