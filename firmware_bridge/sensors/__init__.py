"""One file per sensor family; each imports its bus library lazily, so that everything imports on a laptop."""
