"""`llmctl`: what people type."""
