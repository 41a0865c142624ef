"""The tests; what their suites share is imported from here."""
