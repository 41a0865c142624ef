"""Stand-in for Pulumi's `kubernetes` provider: any kind, by server-side apply and dry run."""
