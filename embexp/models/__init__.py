"""Where models come from, and how they turn texts into vectors."""
