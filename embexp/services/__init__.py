"""Services behind an address: connections, what their refusals mean, and their limits."""
