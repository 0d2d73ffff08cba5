"""What makes a run: the stage graph, its checks, and where stages run."""
