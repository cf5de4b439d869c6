"""Pictures and labels: CIFAR, procedural pictures, picture files."""
