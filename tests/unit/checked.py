"""A server with faults, and what `llmctl policy check` finds in manifests."""

from __future__ import annotations

from described_manifests import TODAY
from llm_policies.environment import read_environment
from llm_policies.pack import RULES
from on_mocks import Raw

from cli.manifests import of_text
from cli.policy_check import Checked, check

SERVER = """\
# Source: chart/templates/server.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat, namespace: llm}
spec:
  template:
    spec:
      containers:
      - name: vllm
        image: vllm/vllm-openai:latest
        securityContext:
          privileged: true
        env:
        - name: HF_TOKEN
          value: hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        resources:
          limits:
            nvidia.com/gpu: two
        args: [org/model, --gpu-memory-utilization=0.99]
"""
"""Its first line is a remark."""

ALL = f'{SERVER}---\na: b\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: "a\\e[31m\\n::error::b"}}\n---\nx: [\n'
EXCEPTED = {
    "exceptions": [
        {"rule": "privileged", "object": "*", "reason": "it loads the driver", "owner": "ops", "until": "2027-01-01"}
    ]
}


def found_in(text: str, levels: Raw | None = None, rules: str = "", file: str = "a.yaml") -> Checked:
    """What a check finds in `text`: of all rules, or of those named."""
    environment = read_environment(levels or {}, RULES)
    chosen = [rule for rule in RULES if not rules or rule.name in rules.split()]
    return check(of_text(text, file), chosen, environment, today=TODAY)
