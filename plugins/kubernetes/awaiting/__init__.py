"""When is an object what it should be: one pure check for each kind, and the loop that asks it."""
