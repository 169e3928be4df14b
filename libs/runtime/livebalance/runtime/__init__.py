"""What every process of Livebalance needs."""
