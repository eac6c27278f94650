"""From tables, tasks and conditions to videos: the sampler, its engines, and what is built from samplers."""
