"""Training in several processes: a job passed on by file, ranks that torchrun or Ray starts."""
