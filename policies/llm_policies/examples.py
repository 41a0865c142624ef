"""How the manifests begin that several rules have as examples."""

POD_HEAD = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
"""
CONTAINERS = """\
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
"""
POD = POD_HEAD + CONTAINERS

INGRESS_HEAD = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: edge}
spec:
"""
INGRESS_RULES = """\
  rules:
  - host: llm.example.com
    http:
      paths: [{path: /v1, pathType: Prefix, backend: {service: {name: chat, port: {number: 8000}}}}]
"""
