# A package, so that no package called tests that happens to be installed is taken for this one.
