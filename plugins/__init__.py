"""Stand-ins for Pulumi plugins that cannot be downloaded, and the folder that offers them to the real CLI.

Each plugin is a small gRPC server on the stubs of the `pulumi` package. They do what the official plugins do as far
as this project needs it, and refuse anything else by name. Where the official ones can be had, these are not used.
"""
