"""From YAML to components: the schema, its checks, and the sentences for what is wrong with it."""
