"""The entries of the catalogue, one module a table; `harness.run.catalogue` is where one asks for them."""
