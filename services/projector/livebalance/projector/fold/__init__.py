"""The pure core: decodes records and folds a batch into rows."""
