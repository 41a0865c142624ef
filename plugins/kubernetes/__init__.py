"""Stand-in for Pulumi's `kubernetes` provider: any kind, by API discovery, server-side apply and server-side dry run."""
