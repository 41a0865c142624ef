"""What a reviewer reads: a preview and the plan behind it, for people."""
