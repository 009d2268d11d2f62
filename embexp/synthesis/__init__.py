"""Training pairs from chunks: what people wrote about them, or what a rule can cut out of them."""
