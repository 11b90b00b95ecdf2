# SPDX-License-Identifier: MIT
import pathlib
import sys

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[1]
for folder in ("interop", "system"):
    sys.path.insert(0, str(ROOT / folder))

from harness import etcp, ordinary  # noqa: E402,F401  (fixtures)


import pytest  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Lets the fixture know whether to show the programs' logs."""
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True
