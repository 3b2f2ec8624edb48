"""Opens and runs a model file that carries a program in a child process that can neither write nor open anything."""
