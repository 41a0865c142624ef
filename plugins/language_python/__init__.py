"""Stand-in for Pulumi's Python language host: it starts programs and policy packs for the engine."""
