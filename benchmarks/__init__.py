"""What the program and its plugins cost in time and memory; each file is run as a module."""
