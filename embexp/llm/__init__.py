"""Language models behind their pace, retries, journal and budget."""
