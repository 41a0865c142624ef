"""Text that may be anything, for terminals and XML."""

from __future__ import annotations

import re

# Everything that neither a terminal nor XML 1.0 should be given as it is.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """`text` on one line, without what a terminal would follow: names in a manifest may be anything."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
