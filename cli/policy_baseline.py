"""What a check finds today, as exceptions: so that only what comes new is refused."""

from __future__ import annotations

import datetime

import yaml

from cli.policy_check import Checked

_REASON = "it was there before the check was"


def exceptions(checked: Checked, owner: str, until: datetime.date) -> str:
    """Exceptions for every error, as a file of levels has them."""
    errors = {(one.finding.rule.name, one.finding.item.id): None for one in checked.findings if one.weight == "error"}
    said = [
        {"rule": rule, "object": item, "reason": _REASON, "owner": owner, "until": until.isoformat()}
        for rule, item in errors
    ]
    return yaml.safe_dump({"exceptions": said}, sort_keys=False, allow_unicode=True)
