"""What a run tells people: the closing table, the report, and the files that tools read."""
