"""How an answer is looked at, and explained."""
