"""Stand-in for Pulumi's `command` provider: commands on this machine, and commands and copies over SSH."""
