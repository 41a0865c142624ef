"""What a stack file means: sizes, fit, placement, strategy, budgets. Pure: no Pulumi, no I/O but the catalogue."""
