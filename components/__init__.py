"""What is created: pieces of the plan as Kubernetes resources. Nothing is decided or checked again here."""
