"""The teacher's side: engines that answer, the stages that collect answers and signals."""
