"""A real Kubernetes on one Linux machine without GPUs, in namespaces of its own; see README.md.

For other programs: `lab.lab.Lab` and `lab.spec.LabSpec`. Nothing is imported here, because the lab's init is a part
of this package too, and must start fast and stay small.
"""
