"""Where text comes from: sets of documents and judged pairs, and the chunkers that cut documents up."""
