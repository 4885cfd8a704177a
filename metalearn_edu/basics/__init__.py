"""What all rooms share, under neutral names."""
