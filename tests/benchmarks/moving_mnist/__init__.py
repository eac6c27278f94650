"""Two genuine digits in frames of 64 × 64 pixels: how well their future is predicted. See README.md."""
