"""What is acceptable: rules over Kubernetes resources alone, so that they hold for any program."""
