"""The command line. The policy pack is a project of its own, in a folder of its own, and is found from here."""

import sys

from toolchain.paths import REPOSITORY

_PACK = str(REPOSITORY / "policies")
if _PACK not in sys.path:
    sys.path.append(_PACK)
