"""The Pulumi program: from the stack file to its outputs."""

import pulumi

from planning.plan import plan_source
from planning.problems import PlanError
from settings.loader import load_source
from settings.problems import SettingsError
from stack import deploy

try:
    planned = plan_source(load_source())
except (SettingsError, PlanError) as error:
    raise pulumi.RunError(str(error)) from None
for warning in planned.warnings:
    pulumi.log.warn(warning)
for name, value in deploy(planned).items():
    pulumi.export(name, value)
