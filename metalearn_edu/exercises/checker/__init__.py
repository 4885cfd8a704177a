"""How we examine an answer and explain what is wrong."""
