"""What learns: the nets, their contracts and weights, the training loop. Knows no files of maps and no cluster."""
