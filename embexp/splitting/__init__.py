"""Train, dev and test by document, and the audit that finds what leaks between them."""
