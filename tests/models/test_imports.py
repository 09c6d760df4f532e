"""Importing the models loads no package that only fitting needs."""

from __future__ import annotations

import subprocess
import sys


def test_models_import_neither_scikit_learn_nor_timm_nor_the_fitting_code():
    code = (
        "import sys, models\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('sklearn', 'timm') or name.startswith('engine')]\n"
        "print(loaded[:3])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
