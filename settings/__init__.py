"""What a stack file says: strict, frozen, plain data. Knows nothing of Pulumi or of Kubernetes objects."""
