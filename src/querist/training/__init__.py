"""Training of torch modules: the job, the default loop, optimizers, threads."""
