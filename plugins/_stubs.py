"""Makes the gRPC stubs of the `pulumi` package importable without the rest of it.

`import pulumi.runtime.proto` first runs `pulumi/__init__.py`: the whole SDK, with OpenTelemetry and the Automation API.
That is more than half of a plugin's start, and a plugin needs none of it. Only a plugin's own process may do this,
before it imports anything of `pulumi`: a program's `import pulumi` would find nothing there.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType


def without_the_sdk() -> None:
    """Register `pulumi` and `pulumi.runtime` as packages that have their folders and nothing else.

    Does nothing where `pulumi` is loaded already, or is not installed (its import then says so).
    """
    spec = PathFinder.find_spec("pulumi")
    if "pulumi" in sys.modules or spec is None or not spec.submodule_search_locations:
        return
    folder = Path(spec.submodule_search_locations[0])
    for name, path in (("pulumi", folder), ("pulumi.runtime", folder / "runtime")):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
